"""SQL that reads text as the contract's types: times, numbers, purposes, event names. NULL where a text is none of them."""

from __future__ import annotations

from collections.abc import Sequence

from huaxiang.engine.duck import finite_sql, quote
from huaxiang.settings import ColumnFrom
from huaxiang.tables import EVENT_NAMES, event_vocabulary

MISSING = ("NULL", "null", "\\N", "NaN", "nan", "NaT", "None", "N/A", "#N/A", "<NA>")
YES = (
    "true",
    "t",
    "yes",
    "y",
    "1",
    "agree",
    "agreed",
    "accepted",
    "granted",
    "all",
    "subscribed",
    "是",
    "同意",
    "已同意",
    "授权",
    "已授权",
    "已订阅",
)
NO = (
    "false",
    "f",
    "no",
    "n",
    "0",
    "none",
    "withdrawn",
    "declined",
    "refused",
    "denied",
    "unsubscribed",
    "否",
    "不同意",
    "未同意",
    "拒绝",
    "未授权",
    "已撤回",
    "未订阅",
    "已退订",
)

_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3, "days": 864e8}
_LATEST = 2.5e17  # microseconds: the year 9892; beyond it DuckDB's own times end
OTHER_TIMES = (
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y.%m.%d",
    "%Y.%m.%d %H:%M:%S",
    "%Y%m%d",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%Y年%m月%d日",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日 %H:%M:%S",
    "%d %b %Y",
    "%d %b %Y %H:%M:%S",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%b %d, %Y %H:%M:%S",
)


def text_sql(sql: str, origin: ColumnFrom) -> str:
    """The text of a (trimmed) source value: what means 'not known' is NULL; `values` applied."""
    text = sql
    absent = {spelled for value in (*MISSING, *origin.empty) for spelled in _spellings(value)}
    text = f"CASE WHEN {text} IN ({', '.join(map(quote, sorted(absent)))}) THEN NULL ELSE {text} END"
    if origin.values:
        cases = " ".join(
            f"WHEN {quote(spelled)} THEN {quote(ours)}"
            for theirs, ours in origin.values.items()
            for spelled in _spellings(theirs)
        )
        text = f"nullif(CASE {text} {cases} ELSE {text} END, '')"
    return text


def _spellings(value: str) -> tuple[str, ...]:
    """A code, and the same code as a float (pandas writes 1 as 1.0 beside a hole)."""
    return (value, f"{value}.0") if value.lstrip("-").isdigit() else (value,)


def event_sql(sql: str) -> str:
    """Our name of an event where the vocabulary knows it; else the name as it is."""
    ours = ", ".join(quote(name) for name in EVENT_NAMES)
    others = " ".join(
        f"WHEN {quote(name)} THEN {quote(our)}" for name, our in event_vocabulary().items() if name != our
    )
    return f"CASE WHEN {sql} IN ({ours}) THEN {sql} ELSE CASE lower({sql}) {others} ELSE {sql} END END"


def number_sql(sql: str) -> str:
    """A number, or money as people write it: ¥1,234.50, 1.234,50 €, (12.00). What could be read two ways is none."""
    bare = f"regexp_replace({sql}, '[¥￥$€£\\s\\x{{a0}}元]|CNY|RMB|USD|EUR|GBP', '', 'g')"
    money = f"""CASE
        WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(,\\d{{3}})+(\\.\\d+)?') THEN replace({bare}, ',', '')
        WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(\\.\\d{{3}})+,\\d+') THEN replace(replace({bare}, '.', ''), ',', '.')
        WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(\\.\\d{{3}}){{2,}}') THEN replace({bare}, '.', '')
        WHEN regexp_full_match({bare}, '[+-]?\\d+,\\d{{1,2}}') THEN replace({bare}, ',', '.')
        WHEN regexp_full_match({bare}, '\\(\\d+(\\.\\d+)?\\)') THEN '-' || {bare}[2:-2]
        ELSE {bare} END"""
    return f"coalesce({finite_sql(f'TRY_CAST({sql} AS DOUBLE)')}, {finite_sql(f'TRY_CAST({money} AS DOUBLE)')})"


def numbers_sql(sql: str) -> str:
    """A list of numbers written as JSON, or with commas, semicolons, bars or spaces between; nothing where one of them is none."""
    inner = f"trim(regexp_replace({sql}, '[\\[\\]()]', '', 'g'))"
    cast = f"list_transform(regexp_split_to_array({inner}, '\\s*[,;|]\\s*|\\s+'), lambda x: TRY_CAST(x AS FLOAT))"
    return f"CASE WHEN list_bool_and(list_transform({cast}, lambda x: coalesce(isfinite(x), false))) THEN {cast} END"


def whole_sql(sql: str) -> str:
    """A whole number, with or without a zero fraction."""
    return f"CASE WHEN TRY_CAST({sql} AS DOUBLE) = trunc(TRY_CAST({sql} AS DOUBLE)) THEN TRY_CAST(TRY_CAST({sql} AS DOUBLE) AS BIGINT) END"


def time_sql(sql: str, origin: ColumnFrom, zone: str) -> str:
    """A time in UTC. An offset within the text wins; a time without one is of `zone`.

    Beside the formats that are stated, those are read that leave no doubt of what is the day and what the month.
    """
    ways = [] if origin.unit is None else [_epoch(sql, origin.unit, zone)]
    for form in origin.formats:
        parsed = f"try_strptime({sql}, {quote(form)})"
        ways.append(f"{parsed} AT TIME ZONE 'UTC'" if "%z" in form.lower() else _to_utc(parsed, zone))
    ways.append(_iso(sql, zone))
    if origin.unit is None:
        others = ", ".join(quote(form) for form in OTHER_TIMES if not origin.format or not form.startswith("%Y%m"))
        ways.append(_to_utc(f"try_strptime({sql}, [{others}])", zone))
    if origin.unit is None and not origin.format:
        ways += [
            f"CASE WHEN regexp_full_match({sql}, '[0-9]{{{digits}}}(\\.[0-9]+)?') THEN {_epoch(sql, unit, zone)} END"
            for digits, unit in ((10, "s"), (13, "ms"), (16, "us"))
        ]
    return f"coalesce({', '.join(ways)})"


def _iso(sql: str, zone: str) -> str:
    offset = f"regexp_matches({sql}, ':[0-9.]+ ?(Z|z|UTC|GMT|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
    spelled = f"regexp_replace(regexp_replace({sql}, ' ?(Z|z|UTC|GMT)$', '+00'), ' ?([+-][0-9]{{2}}):?([0-9]{{2}})$', '\\1:\\2')"
    aware = f"TRY_CAST({spelled} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
    plain = f"TRY_CAST({sql} AS TIMESTAMP)"
    return f"CASE WHEN {sql}[5] NOT IN ('-', '/') THEN NULL WHEN {offset} THEN {aware} ELSE {_to_utc(plain, zone)} END"


def _to_utc(sql: str, zone: str) -> str:
    return sql if zone.upper() == "UTC" else f"{sql} AT TIME ZONE {quote(zone)} AT TIME ZONE 'UTC'"


def _epoch(sql: str, unit: str, zone: str) -> str:
    count = f"round(TRY_CAST({sql} AS DOUBLE) * {_MICROSECONDS[unit]!r})"
    made = f"CASE WHEN abs({count}) < {_LATEST!r} THEN make_timestamp({count}::BIGINT) END"
    return f"({_to_utc(f'({made})', zone)})" if unit == "days" else made


def answers_sql(texts: Sequence[str], purposes: Sequence[str], assumed: str) -> str:
    """The purposes that yes/no columns agree to, as a list in one text. assumed: the purpose of the profile itself, agreed to where
    none of the columns asks about it ("": it is not)."""
    yes = ", ".join(map(quote, YES))
    parts = [
        f"CASE WHEN lower({text}) IN ({yes}) THEN {quote(purpose.lower())} END"
        for text, purpose in zip(texts, purposes, strict=True)
    ]
    if assumed and assumed not in {purpose.lower() for purpose in purposes}:
        parts.insert(0, quote(assumed))
    return f"coalesce(nullif(concat_ws(',', {', '.join(parts)}), ''), 'no')"


def purposes_sql(sql: str, purpose: str) -> str:
    """The purposes agreed to: a list written as text or JSON; a plain yes means `purpose`, a plain no none."""
    inner = f"regexp_replace({sql}, '[\\[\\]\"'']', '', 'g')"
    parts = f"list_filter(list_transform(regexp_split_to_array({inner}, '[,;|，；、]'), lambda x: lower(trim(x))), lambda x: x <> '')"
    return (
        f"CASE WHEN lower({sql}) IN ({', '.join(map(quote, YES))}) THEN [{quote(purpose)}] "
        f"WHEN {sql} IS NULL OR lower({sql}) IN ({', '.join(map(quote, NO))}) THEN []::VARCHAR[] ELSE {parts} END"
    )
