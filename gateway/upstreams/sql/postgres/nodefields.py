"""Nodes and fields of an analysed query, PostgreSQL 14 to 18, by what they mean to a judge."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    FUNCTION = "function"
    OPERATOR = "operator"
    MADE = "made"  # a type that new values are made of: its input, casts and checks run
    PASSED = "passed"  # a type of values that exist: only its output may run
    OTHER = "other"  # an operator class or family
    NEUTRAL = "neutral"


NODES = frozenset(
    """
    QUERY FROMEXPR JOINEXPR RANGETBLREF RANGETBLENTRY RTE RTEPERMISSIONINFO RANGETBLFUNCTION
    TABLEFUNC TARGETENTRY ALIAS VAR CONST PARAM AGGREF GROUPINGFUNC WINDOWFUNC SUBSCRIPTINGREF
    FUNCEXPR NAMEDARGEXPR OPEXPR DISTINCTEXPR NULLIFEXPR SCALARARRAYOPEXPR BOOLEXPR SUBLINK
    FIELDSELECT FIELDSTORE RELABELTYPE COERCEVIAIO ARRAYCOERCEEXPR CONVERTROWTYPEEXPR
    COLLATE COLLATEEXPR CASE CASEEXPR WHEN CASEWHEN CASETESTEXPR ARRAY ARRAYEXPR ROW ROWEXPR
    ROWCOMPARE ROWCOMPAREEXPR COALESCE COALESCEEXPR MINMAX MINMAXEXPR SQLVALUEFUNCTION XMLEXPR
    JSONFORMAT JSONRETURNING JSONVALUEEXPR JSONCONSTRUCTOREXPR JSONISPREDICATE JSONBEHAVIOR
    JSONEXPR JSONTABLEPATH JSONTABLEPATHSCAN JSONTABLESIBLINGJOIN NULLTEST BOOLEANTEST
    MERGEACTION MERGESUPPORTFUNC COERCETODOMAIN COERCETODOMAINVALUE SETTODEFAULT NEXTVALUEEXPR
    INFERENCEELEM RETURNINGEXPR ONCONFLICTEXPR SORTGROUPCLAUSE GROUPINGSET WINDOWCLAUSE
    ROWMARKCLAUSE WITHCHECKOPTION COMMONTABLEEXPR CTESEARCHCLAUSE CTECYCLECLAUSE
    TABLESAMPLECLAUSE SETOPERATIONSTMT CURRENTOFEXPR
    """.split()  # noqa: SIM905 - a list of words
)

_BY_KIND = {
    Kind.FUNCTION: """
    funcid opfuncid aggfnoid winfnoid tsmhandler hashfuncid negfuncid startInRangeFunc
    endInRangeFunc
    """,
    Kind.OPERATOR: "opno eqop sortop opnos cycle_mark_neop",
    Kind.MADE: """
    consttype paramtype funcresulttype resulttype funccoltypes type typid cycle_mark_type
    """,
    Kind.PASSED: """
    vartype aggtype aggargtypes aggtranstype wintype opresulttype refcontainertype refelemtype
    refrestype casetype typeId array_typeid element_typeid row_typeid coalescetype minmaxtype
    coltypes ctecoltypes colTypes msftype
    """,
    Kind.OTHER: "inferopclass opfamilies",
    Kind.NEUTRAL: """
    cvarno cursor_name cursor_param
    commandType querySource canSetTag utilityStmt resultRelation hasAggs hasWindowFuncs
    hasTargetSRFs hasSubLinks hasDistinctOn hasRecursive hasModifyingCTE hasForUpdate
    hasRowSecurity hasGroupRTE isReturn mergeTargetRelation mergeUseOuterJoin override
    returningOldAlias returningNewAlias groupDistinct limitOption constraintDeps stmt_location
    stmt_len rtindex jointype isNatural usingClause
    rtekind relid inh relkind rellockmode perminfoindex security_barrier joinmergedcols
    joinleftcols joinrightcols funcordinality ctename ctelevelsup self_reference coltypmods
    colcollations lateral inFromCl requiredPerms checkAsUser selectedCols insertedCols updatedCols
    extraUpdatedCols
    funccolcount funccolnames funccoltypmods funccolcollations funcparams functype ns_names
    colnames notnulls ordinalitycol location resno resname ressortgroupref resorigtbl resorigcol
    resjunk aliasname varno varattno vartypmod varcollid varnullingrels varlevelsup
    varreturningtype varnosyn varattnosyn varnoold varoattno consttypmod constcollid constlen
    constbyval constisnull constvalue paramkind paramid paramtypmod paramcollid aggcollid
    inputcollid aggstar aggvariadic aggkind aggpresorted agglevelsup aggsplit aggno aggtransno refs
    wincollid winref winstar winagg reftypmod refcollid funcretset funcvariadic funcformat
    funccollid name argnumber opretset opcollid useOr boolop subLinkType subLinkId operName
    fieldnum fieldnums resulttypmod resultcollid relabelformat coerceformat coercionformat
    convertformat collOid casecollid typeMod collation array_collid multidims list_start list_end
    row_format rctype cmptype inputcollids coalescecollid minmaxcollid op typmod arg_names
    xmloption indent format_type encoding absent_on_null unique item_type unique_keys btype coerce
    column_name passing_names use_io_coercion use_json_coercion wrapper omit_quotes errorOnError
    colMin colMax nulltesttype argisrow booltesttype matchKind matched updateColnos msfcollid
    seqid infercollid retlevelsup retold action constraint exclRelIndex tleSortGroupRef
    reverse_sort nulls_first hashable kind content refname frameOptions inRangeColl inRangeAsc
    inRangeNullsFirst copiedOrder rti strength waitPolicy pushedDown relname polname cascaded
    aliascolnames ctematerialized search_col_list search_breadth_first search_seq_column
    cycle_col_list cycle_mark_column cycle_path_column cycle_mark_typmod cycle_mark_collation
    cterecursive cterefcount ctecolnames ctecoltypmods ctecolcollations all colTypmods
    colCollations
    """,
}
KINDS = {name: kind for kind, names in _BY_KIND.items() for name in names.split()}

# Where a name means something else than elsewhere.
KINDS_OF = {
    ("FIELDSELECT", "resulttype"): Kind.PASSED,
    ("RELABELTYPE", "resulttype"): Kind.PASSED,
    ("CONVERTROWTYPEEXPR", "resulttype"): Kind.PASSED,
    ("TABLEFUNC", "coltypes"): Kind.MADE,
    ("JSONCONSTRUCTOREXPR", "type"): Kind.NEUTRAL,
}
