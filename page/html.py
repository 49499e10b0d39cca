"""Results, progress and messages as HTML. Everything that comes from outside is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from compare.methods import Method
from compare.models.load import LoadedPipeline
from compare.models.vocabulary import Vocabulary
from compare.report import Comparison, Environment, LevelTokens, PlanSummary, Result
from compare.request import SIZE_MULTIPLE, SIZES, Request
from server.limits import Limits

TODO_PAPER = "https://arxiv.org/abs/2402.13573"
TOME_PAPER = "https://arxiv.org/abs/2303.17604"


def heading(loaded: LoadedPipeline, environment: Environment) -> str:
    """What this is, and what is running."""
    info = loaded.info
    running = {
        "Model": f"{info.name}, UNet of {_parameters(info.unet_parameters)}",
        "Device": environment.accelerator or f"CPU, {_hardware(environment)}",
        "Precision": info.dtype,
        "Attention": attention_name(info.attention),
    }
    return (
        '<div class="heading"><h1>ToDo <span>vs</span> ToMe</h1>'
        "<p>Two ways to make the self-attention of Stable Diffusion cheaper, on the same prompt and the same "
        "noise: side by side, timed, and scored against the unchanged model. Papers: "
        f'<a href="{TODO_PAPER}">ToDo, token downsampling</a>, '
        f'<a href="{TOME_PAPER}">ToMe, token merging</a>.</p>'
        f"{_facts(running, 'running')}"
        + (f'<p class="note">{escape(loaded.fallback)}</p>' if loaded.fallback else "")
        + "</div>"
    )


def attention_name(backend: str) -> str:
    return {"sdpa": "PyTorch SDPA"}.get(backend, backend)


def vocabulary(seen: Vocabulary) -> str:
    """What a model of a small world can draw, folded away."""
    return (
        '<details class="vocabulary"><summary>What this model can draw</summary>'
        f"<p><b>Things</b> {escape(', '.join(seen.objects))}</p>"
        f"<p><b>Backgrounds</b> {escape(', '.join(seen.backgrounds))}</p></details>"
    )


def pane_heading(method: Method) -> str:
    return f'<h2 class="method">{escape(method.label)}</h2><p class="what">{escape(method.description)}</p>'


def result_card(result: Result) -> str:
    """The numbers of one method: seconds and speed-up large, the rest small."""
    return (
        f'<div class="card" data-method="{escape(result.method)}"><div class="large">'
        f'<p><b class="seconds">{result.times.seconds:.2f} s</b><span>{_what_was_timed(result)}</span></p>'
        f"{_speedup(result)}</div>{_facts(dict(_small_numbers(result)))}</div>"
    )


def _what_was_timed(result: Result) -> str:
    steps = _counted(result.steps, "denoising step")
    times = result.times
    if len(times.denoising) == 1:
        return steps
    return f"{steps}, median of {len(times.denoising)} ({times.fastest:.2f} to {times.slowest:.2f} s)"


def _speedup(result: Result) -> str:
    if result.speedup is None or result.is_baseline:
        return ""
    return f'<p><b class="speedup">{result.speedup:.2f}×</b><span>{_in_words(result.speedup)}</span></p>'


def _in_words(speedup: float) -> str:
    if round(speedup, 2) == 1:
        return "as fast as Baseline"
    return "the speed of Baseline" + ("" if speedup > 1 else ": slower")


def _small_numbers(result: Result) -> Iterable[tuple[str, str]]:
    plan, scores = result.plan, result.scores
    if not result.is_baseline and plan.flop_speedup is not None:
        ceiling = "" if plan.ceiling is None else f", ceiling {plan.ceiling:.2f}×"
        yield "FLOP speed-up", f"{plan.flop_speedup:.2f}×{ceiling}"
    if scores is not None and scores.identical:
        yield "Picture", "identical to Baseline"
    elif scores is not None:
        yield "PSNR", f"{scores.psnr:.2f} dB"
        yield "SSIM", f"{scores.ssim:.4f}"
        if scores.high_frequency is not None:
            yield "Fine detail kept", f"{scores.high_frequency:.0%}"
    yield "Tokens kept", _tokens(plan)
    yield "Decoding", f"{result.times.decoding:.2f} s more"
    if result.peak_memory is not None:
        yield "Peak memory", f"{result.peak_memory / 2**30:.2f} GiB"


def _tokens(plan: PlanSummary) -> str:
    shortened = [level for level in plan.levels if min(level.kv_tokens, level.query_tokens) < level.tokens]
    return "; ".join(map(_tokens_of_level, shortened)) or "all"


def _tokens_of_level(level: LevelTokens) -> str:
    rows, columns = level.grid
    kind = "keys and values" if level.query_tokens == level.tokens else "queries, keys and values"
    return f"{level.kv_tokens} of {level.tokens} {kind} ({level.kept:.0%}) on the {rows}×{columns} grid"


def quiet_card(sentence: str) -> str:
    """For a pane that has no result."""
    return f'<div class="card"><p class="quiet">{escape(sentence)}</p></div>'


def progress_card(method: Method, step: int, steps: int, seconds: float) -> str:
    """A bar that counts steps."""
    doing = (
        f"Step {step} of {steps}, {seconds:.1f} s" if step else f"Warming up; then {_counted(steps, 'step')}"
    )
    return (
        f'<div class="card"><progress value="{step}" max="{steps}" aria-label="{escape(method.label)}">'
        f"</progress><p>{doing}</p></div>"
    )


def about_example(comparison: Comparison) -> str:
    """Says of the first view that it is an example."""
    return _about(
        "An example, made earlier by this code", _made(comparison), comparison.request, comparison.notes
    )


def about_own(comparison: Comparison) -> str:
    stopped = len(comparison.results) < len(comparison.request.methods)
    whose = "Your comparison" + (", stopped early" if stopped else "")
    return _about(whose, _made(comparison), comparison.request, comparison.notes)


def about_run(request: Request, notes: Iterable[str] = ()) -> str:
    return _about("Your comparison", "running", request, notes)


def about_stopped(request: Request) -> str:
    return _about("Your comparison", "stopped before the first picture", request)


def about_nothing() -> str:
    return "<p>Nothing has been compared yet, and no example came with this copy. Press Compare to begin.</p>"


def _about(whose: str, made: str, request: Request, notes: Iterable[str] = ()) -> str:
    negative = f", not “{escape(request.negative_prompt)}”" if request.negative_prompt else ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<p><b>{whose}</b> · <span class="made">{made}</span></p>'
        f'<p class="request">“{escape(request.prompt)}”{negative} · {request.width}×{request.height} · '
        f"factor {' and '.join(map(str, request.factors))} · {_counted(request.steps, 'step')} · "
        f"guidance {request.guidance_scale:g} · seed {request.seed}</p>"
        + (f'<ul class="notes">{items}</ul>' if items else "")
    )


def _made(comparison: Comparison) -> str:
    """When, with what and on what."""
    model, date, hardware = comparison.model, comparison.date, _hardware(comparison.environment)
    return f'<time datetime="{date:%Y-%m-%dT%H:%M:%SZ}">{date:%Y-%m-%d, %H:%M} UTC</time> · ' + escape(
        f"{model.name}, {model.dtype}, {attention_name(model.attention)} · {hardware}"
    )


def _hardware(environment: Environment) -> str:
    return environment.accelerator or f"{environment.cpu}, {_counted(environment.threads, 'thread')}"


def settings_help(limits: Limits) -> str:
    """What is allowed, so that nobody has to meet it as an error."""
    low, high = SIZES
    return (
        f'<p class="help">Width and height in pixels, multiples of {SIZE_MULTIPLE} from {low} to {high}. '
        "A factor of 2 keeps a quarter of the keys and values, 3 a ninth; ToMe gets the equal reduction. "
        "With repeats every method is timed so often, in turns, and the median counts.</p>"
        f'<details class="limits"><summary>Limits of this server</summary><p>{escape(limits.sentence())}</p>'
        "</details>"
    )


def reading_help() -> str:
    return (
        '<p class="help">Seconds are those of the denoising loop alone, after a step to warm up. '
        "<b>FLOP speed-up</b> counts operations. <b>Ceiling</b> is what it would be if everything that a "
        "method of its kind works on cost nothing: near 1× nothing can be gained. It grows with the size of "
        "the picture. PSNR and SSIM say how close a picture is to Baseline's, higher is closer.</p>"
    )


def error(sentence: str) -> str:
    return f'<p class="error">{escape(sentence)}</p>'


def progress(sentence: str) -> str:
    return f'<p class="progress">{escape(sentence)}</p>' if sentence else ""


def wipe_slider() -> str:
    """Lies over the two pictures; how far to uncover the right one is for the style sheet."""
    return (
        '<input type="range" min="0" max="100" step="0.1" value="50" aria-label="Wipe between the two" '
        "oninput=\"document.getElementById('wipe').style.setProperty('--at', this.value + '%')\">"
    )


def report_link(comparison: Comparison) -> str:
    """`report.json` inside the page itself, so that no file has to wait on the server to be fetched."""
    report = base64.b64encode((comparison.model_dump_json(indent=2) + "\n").encode()).decode()
    return (
        f'<a class="download" download="report.json" href="data:application/json;base64,{report}">'
        "Download report.json</a>"
    )


def _facts(facts: dict[str, str], kind: str = "") -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )
    return f'<dl class="facts {kind}">{rows}</dl>'


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _parameters(number: int) -> str:
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word} parameters"
    return f"{number} parameters"
