"""A run: the only mutable thing. Method states and the trace of one sparsified pipeline."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from warnings import warn

from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.dealing import HeadWork
from videosieve.errors import RecipeError, VideosieveWarning
from videosieve.fields import Whole, checked
from videosieve.forward import Site
from videosieve.kernels import dense_attention
from videosieve.kernels.preference import Preference
from videosieve.lending import Loans
from videosieve.methods import Dense, Selection, ask, attend_selected
from videosieve.methods.base import State
from videosieve.methods.dense import kernel_of
from videosieve.observation import Observation
from videosieve.outputs import Kept, Memory, Outputs, storage_bytes
from videosieve.recall import shares_of
from videosieve.recipe import ANSWERS, Recipe
from videosieve.records import Outcome
from videosieve.reports import ASKED, DENSE, Listener, Reports
from videosieve.schedule import Action
from videosieve.states import Place, States
from videosieve.timing import Reading, start_timer
from videosieve.trace import Summary, Trace


class Run:
    """Applies a recipe to attention calls and remembers what happened.

    Attributes:
        recipe: Method and schedule.
        trace: One record per attention call.
        outputs: Module outputs that later steps return again.
        observers: Called with every self-attention that was computed in full view of its layout.
        warns: Whether leaving the `with` block without an error also gives the `warnings` as Python warnings.
        notes: Asked by `summary` for a line each, empty where there is nothing to say.
        checks: Asked by `warnings` for a sentence each, empty where all is well.
        witnesses: Called with every attention call that the recipe computed, without padding, with its selection (None
            where it stayed dense) and its owner. Calls of pipelines that are only watched do not come here.
        about: What it is attached to, in words.
        work: Counts computed pairs by head, where heads are dealt to processes; None where nobody asks.

    Args:
        recipe: Method and schedule.
        check_finite: Check q, k and v of every call for NaN and infinity, and say where they are. Costs a pass each.
        recall_rows: Query rows per sparse call from which recall is measured where the method does not know it;
            0 turns the measurement off.
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.

    Raises:
        RecipeError: The recipe is none (`Recipe.of` makes one), check_finite is not True or False, or recall_rows is
            no whole number >= 0, or the recipe prefers bf16 and backend names another implementation.
        BackendError: There is no such backend, or no products of bf16 here, which the recipe prefers.
    """

    def __init__(
        self, recipe: Recipe, *, check_finite: bool = False, recall_rows: int = 16, backend: str | None = None
    ) -> None:
        self.recipe = checked("recipe", recipe, Recipe, RecipeError)
        self.trace = Trace()
        self.outputs = Outputs(recipe.schedule)
        self.observers: list[Callable[[Observation], None]] = []
        self.witnesses: list[Callable[[AttentionCall, Selection | None, str], None]] = []
        self.warns = False
        self.notes: list[Callable[[], str]] = []
        self.checks: list[Callable[[], str]] = []
        self.about = ""
        self.work: HeadWork | None = None
        self._reports = Reports(recipe)
        self._check_finite = checked("check_finite", check_finite, bool, RecipeError)
        self._recall_rows = checked("recall_rows", recall_rows, Whole, RecipeError)
        self._preference = Preference.of(recipe.prefer, backend)
        self._states = States()
        self._loans = Loans()
        self._cleanup = ExitStack()

    def attend(self, call: AttentionCall, owner: str = "") -> Tensor:
        """Compute one attention call as the recipe says.

        Args:
            call: The attention call.
            owner: Which transformer it belongs to, where a pipeline has several; method states are kept apart by it.

        Returns:
            Output [batch, heads, tokens, head_dim], contiguous.
        """
        if self._check_finite:
            call.check_finite()
        timer = start_timer(call.q.device)
        reason = self._dense_reason(call)
        selection, source, note = (None, (), "") if reason else self._choose(call, owner)
        if selection is None:
            output = self.attend_dense(call, reason or ASKED, timer, owner)
            self._show(call, None, owner)
            return output
        if self.recipe.compensate != "none":
            selection = replace(selection, **ANSWERS[self.recipe.compensate])
        result = attend_selected(call, selection, self._preference.sparse(call.q))
        recall, compensated = shares_of(call, selection, result, self._recall_rows)
        density = result.mask.head_density  # read with the record: a float here would wait for the device
        output = result.output if source else self._observe(call, result, owner)
        milliseconds = timer()
        more = (x for x in (result.answered_density, result.more_density) if x is not None)
        outcome = Outcome(
            *("sparse", result.kernel, call.pairs(causal=selection.causal), sum(more, density)),
            recall=recall,
            compensated=compensated,
            patterns=selection.patterns,
            pattern=selection.pattern,
            source=source,
            note=note,
        )
        self._note(call, outcome, milliseconds, owner)
        self._show(call, selection, owner)
        return output.contiguous()

    def _show(self, call: AttentionCall, selection: Selection | None, owner: str) -> None:
        for witness in self.witnesses:
            witness(call, selection, owner)

    def attend_dense(
        self,
        call: AttentionCall,
        reason: str,
        timer: "Callable[[], Reading] | None" = None,
        owner: str = "",
    ) -> Tensor:
        """Compute a call in full and note why; the method may learn from it."""
        timer = timer or start_timer(call.q.device)
        causal = self.recipe.method.is_causal
        kernel = self._preference.dense(call.q) or kernel_of(self.recipe.method, call, causal)
        output = dense_attention(call.q, call.k, call.v, scale=call.scale, causal=causal, backend=kernel)
        if self._sparse_follows(call):
            place = self._place(owner, call.site, call.batch)
            state = self.recipe.method.observe_dense(call, output, self._states.get(place, call))
            self._states.put(place, state, call)
        self._note(call, Outcome("dense", kernel, call.pairs(causal=causal), 1.0, reason), timer(), owner)
        return output.contiguous()

    def _note(self, call: AttentionCall, outcome: Outcome, milliseconds: Reading, owner: str) -> None:
        self.trace.add(call.site, outcome, milliseconds)
        if self.work is not None:
            self.work.note(call, outcome, owner)

    def begin(self, keep: Collection[int] = ()) -> None:
        """A new generation starts: method states, shared selections and stored outputs are forgotten.

        Who asked is told of the generations that are over, and the trace lets the oldest records go (`trace.keep`).

        Args:
            keep: Generations that are still running beside the new one, whose memory stays.
        """
        self._end(keep)
        self._states.forget(keep)
        self._loans.forget(keep)
        self.outputs.clear(keep)

    def reset(self) -> None:
        """Forget everything but the recipe, between two generations: memory, records and totals.

        Who asked is told of every generation so far. Not while a generation runs: it would go on without its memory.
        """
        self.begin()
        self.trace.clear()
        self._reports.clear()

    def on_generation(self, listener: Listener) -> None:
        """Have `listener(number, summary)` called for every generation that is over.

        That shows when the next one begins, and at `reset` and `remove`. What the listener raises is logged.
        """
        self._reports.listeners.append(listener)

    def _end(self, running: Collection[int] = ()) -> None:
        for records in self.trace.close(running):
            self._reports.tell(records, self.trace.reached)

    def reuse(self, site: Site, kept: Kept) -> None:
        """Note that an attention module returns a stored output."""
        outcome = Outcome("reuse", "", kept.pairs, 0.0, source=(kept.site.step, kept.site.branch))
        self.trace.add(site, outcome, 0.0)

    def share_state(self, owner: str, site: Site) -> None:
        """Hand the conditional branch's method state to the branch of `site`, where the method allows it."""
        if self.recipe.method.shares_state:
            conditional = self._place(owner, replace(site, branch="cond"), 0)
            self._states.share(conditional, self._place(owner, site, 0))

    def memory(self) -> Memory:
        """Bytes held now by method states, selections that branches share, and stored outputs."""
        states = storage_bytes([*self._states.values(), *self._loans.values()])
        return Memory(states, self.outputs.bytes, self.outputs.peak)

    def states(self) -> dict[tuple[str, int, str], State]:
        """What the method remembers of the newest generation, by (owner, layer, branch).

        The branch of a further pass, or of some items of the batch, says so: "cond, pass 1", "cond, items [0]".
        """
        return self._states.of_newest()

    @property
    def remembers(self) -> bool:
        """Whether anything of a step is used at a later one."""
        return bool(self.recipe.schedule.reused_kinds) or self._states.holds_any

    def snapshot(self) -> Callable[[], None]:
        """Remember states, shared selections and stored outputs; the result puts them back, any number of times."""
        restores = [part.snapshot() for part in (self._states, self._loans, self.outputs)]

        def put_back() -> None:
            for restore in restores:
                restore()

        return put_back

    def summary(self, gather: bool = False) -> Summary:
        """Totals over everything so far, kept in the trace or not; first of all what is not as the recipe means it.

        `gather`: over all ranks of the process group, every one of which must ask (`Summary.over_ranks`).
        """
        notes = [said for note in self.notes if (said := note())]
        own = Summary.of(self.trace.records, self.warnings(), self.trace.earlier, notes)
        return own.over_ranks(self.trace.records) if gather else own

    def warnings(self) -> list[str]:
        """What is not as the recipe means it, a sentence each: the share of dense steps, nothing sparse or hooked."""
        found = [said for check in self.checks if (said := check())]
        return found + self._reports.sentences(self.trace)

    def on_remove(self, undo: Callable[[], object]) -> None:
        """Have `undo` called by `remove`, last registered first."""
        self._cleanup.callback(undo)

    def remove(self) -> None:
        """Put the pipeline back as it was. The trace stays readable; calling it twice is harmless."""
        self._cleanup.close()
        self.outputs.clear()
        if self._reports.listeners:
            self._end()

    def __repr__(self) -> str:
        where = f" on {self.about}" if self.about else ""
        return f"<Run of {self.recipe!r}{where}: {len(self.trace):,} calls in its trace>"

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None and self.warns:
            for warning in self.warnings():
                warn(warning, VideosieveWarning, stacklevel=2)
        self.remove()

    def _dense_reason(self, call: AttentionCall) -> str:
        if isinstance(self.recipe.method, Dense):
            return DENSE
        if call.tokens < self.recipe.min_tokens:
            return f"fewer than {self.recipe.min_tokens} tokens"
        schedule = self.recipe.schedule
        return schedule.dense_reason if schedule.action(call.site) is Action.DENSE else ""

    def _place(self, owner: str, site: Site, batch: int) -> Place:
        return Place.of(owner, site, batch, self.recipe.method.shares_state)

    def _sparse_follows(self, call: AttentionCall) -> bool:
        """Whether the method is called again before the next dense step."""
        small = isinstance(self.recipe.method, Dense) or call.tokens < self.recipe.min_tokens
        return not small and self.recipe.schedule.next_computed(call.site) is Action.SPARSE

    def _choose(
        self, call: AttentionCall, owner: str
    ) -> tuple[Selection | None, tuple[int, str] | tuple[()], str]:
        """The selection; the step and branch that made it where it was another branch; what the trace should add."""
        selection, source, note = self._loans.borrow(owner, call)
        if selection is not None:
            return selection, source, note
        place = self._place(owner, call.site, call.batch)
        state = self._states.get(place, call)
        if state is None and not note:
            note = self._states.why_afresh(place, call)
        selection, state = ask(self.recipe.chooser, call, state)
        self._states.put(place, state, call)
        if selection is not None and self.recipe.shared_selection:
            self._loans.lend(owner, call, selection)
        return selection, (), note

    def _observe(self, call: AttentionCall, result: AttentionResult, owner: str) -> Tensor:
        place, method = self._place(owner, call.site, call.batch), self.recipe.chooser
        state = method.observe(call, result, self._states.get(place, call))
        self._states.put(place, state, call)
        return method.correct(call, result.output, state)
