"""What the guard found, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from huaxiang.apply.guard.cases import Case
from huaxiang.apply.guard.found import DryRun, GuardReport
from huaxiang.apply.guard.rules import ACTIONS
from huaxiang.look.numbers import Numbers
from huaxiang.settings import RuleSettings
from huaxiang.words import Lang, Words

CASES = 10  # shown
Rules = Mapping[str, RuleSettings]


def show_guard(found: GuardReport, console: Console, lang: Lang, *, rules: Rules, currency: str = "") -> None:
    words, numbers = Words(lang), Numbers(lang, currency)
    say = {
        "users": numbers.number(found.users),
        "orders": numbers.number(found.orders),
        "as_of": found.as_of,
        "days": found.days,
    }
    console.print(words("guard.show.head", **say), highlight=False)
    table = _table(words, "risk", "above", "some", "most")
    for name, figures in found.risks.items():
        table.add_row(words(f"guard.risk.{name}"), numbers.number(figures["above"]), numbers.number(figures["some"]), f"{figures['most']:.2f}")  # fmt: skip
    console.print(table)
    console.print(_actions(found.actions, words, numbers), highlight=False)
    for name, effect in found.rules.items():
        console.print(words("guard.show.rule", name=escape(name), matched=numbers.number(effect["matched"]), decided=numbers.number(effect["decided"])), highlight=False)  # fmt: skip
    console.print(fake_line(found, words, numbers), highlight=False)
    console.print(ring_line(found, words, numbers), highlight=False)
    console.print(learned_line(found, words), highlight=False)
    if found.missing:
        console.print(words("guard.show.missing", names=", ".join(found.missing)), style="dim", highlight=False)
    show_cases(found.cases, console, lang, rules=rules)
    if not found.written:
        console.print(words("guard.show.not_written", as_of=found.as_of), style="yellow", highlight=False)


def _actions(actions: Mapping[str, int], words: Words, numbers: Numbers) -> str:
    return "  ".join(f"{words(f'guard.action.{name}')} {numbers.number(actions[name])}" for name in ACTIONS)


def fake_line(found: GuardReport, words: Words, numbers: Numbers) -> str:
    """How many orders are held fake, and kept out."""
    fakes = found.fake_orders
    if not fakes["orders"]:
        return words("guard.show.no_fakes")
    return words("guard.show.fakes", orders=numbers.number(fakes["orders"]), users=numbers.number(fakes["users"]), amount=numbers.money(fakes["amount"]))  # fmt: skip


def ring_line(found: GuardReport, words: Words, numbers: Numbers) -> str:
    if not found.ring_count:
        return words("guard.show.no_ties") if not found.ties else words("guard.show.no_rings")
    largest = max(row.users for row in found.rings)
    return words("guard.show.rings", count=numbers.number(found.ring_count), largest=numbers.number(largest))


def learned_line(found: GuardReport, words: Words) -> str:
    """What the verdicts taught, a null result too."""
    taught = found.learned
    if taught["by_model"] is None:
        return words("guard.show.few_verdicts", fraud=taught["fraud"], fine=taught["fine"])
    return words(
        "guard.show.learned" if taught["used"] else "guard.show.not_better",
        fraud=taught["fraud"], fine=taught["fine"], model=f"{taught['by_model']:.3f}", score=f"{taught['by_score']:.3f}", sd=f"{taught['sd']:.3f}",
    )  # fmt: skip


def show_cases(cases: Sequence[Case], console: Console, lang: Lang, *, rules: Rules) -> None:
    """The riskiest cases with their reasons."""
    words = Words(lang)
    console.print(words("guard.show.cases", count=f"{len(cases):,}"), style="bold", highlight=False)
    for case in cases[:CASES]:
        risk = words(f"guard.risk.{case.risk}")
        console.print(f"[bold]{case.case_id}[/]  {case.score:.2f}  {risk}  {words(f'guard.action.{case.action}')}  {escape(case.user_id)}", highlight=False)  # fmt: skip
        told = [tell(code, rules, words, lang) for code in case.reasons]
        ring = case.evidence.get("ring")
        if ring:
            told.append(words("guard.show.of_ring", users=f"{ring['users']:,}"))
        orders = ", ".join(str(order["order"]) for order in case.evidence["orders"][:3])
        console.print(f"   {escape(' · '.join(told))}", highlight=False)
        if orders:
            console.print(f"   {escape(words('guard.show.orders', orders=orders))}", style="dim", highlight=False)
        console.print(
            f"   {version_line(case.as_of, case.definition, case.model, words)}", style="dim", highlight=False
        )
    if cases:
        console.print(words("guard.show.next"), style="dim", highlight=False)


def version_line(as_of: object, definition: str, model: str | None, words: Words) -> str:
    """As of when, and by which reasons and model, something was decided."""
    return words("guard.show.version", as_of=as_of, definition=definition, model=model or words("guard.show.none"))


def tell(code: str, rules: Rules, words: Words, lang: Lang) -> str:
    """A reason code in words: one of ours, or a rule's own text."""
    for name, rule in rules.items():
        if code == (rule.reason or name):
            return (rule.zh or rule.en or code) if lang == "zh" else (rule.en or code)
    return words.either(f"guard.reason.{code}", code)


def show_dry_run(found: DryRun, console: Console, lang: Lang) -> None:
    words, numbers = Words(lang), Numbers(lang)
    action = words(f"guard.action.{found.action}")
    console.print(words("guard.try.head", name=found.name, action=action).replace("[", r"\["), highlight=False)
    console.print(found.when, style="dim", highlight=False, markup=False)
    table = _table(words, "as_of", "matched", "orders", "moved", "before", "after", "verdicts", prefix="guard.try")
    for trial in found.trials:
        before, after = ("/".join(str(counts[name]) for name in ACTIONS) for counts in (trial.before, trial.after))
        table.add_row(str(trial.as_of), numbers.number(trial.matched), numbers.number(trial.orders), numbers.number(trial.moved), before, after, f"{trial.fraud} / {trial.fine}")  # fmt: skip
    console.print(table)
    console.print(words("guard.try.note"), style="dim", highlight=False, markup=False)


def _table(words: Words, first: str, *rest: str, prefix: str = "guard.show") -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(words(f"{prefix}.{first}"), min_width=10)
    for name in rest:
        table.add_column(words(f"{prefix}.{name}"), justify="right", overflow="fold")
    return table
