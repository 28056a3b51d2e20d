"""Sphinx settings of the documentation: `python -m sphinx -W --keep-going -n -b html docs OUT`."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import engagelab_mock
from engagelab_mock.checks import check as checks
from engagelab_mock.checks import runner as check_options
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery import model
from engagelab_mock.delivery.faults.catalogue import FaultChoice
from engagelab_mock.service import accept

# Autodoc evaluates the signatures of these records, which name types they import for type checkers only.
vars(model).update({name: getattr(engagelab_mock, name) for name in ("Fault", "Message", "Receiver", "Scenario")})
vars(accept).update(FaultChoice=FaultChoice)
vars(checks).update(Trial=Trial)
vars(check_options).update(Message=engagelab_mock.Message, Report=engagelab_mock.Report)

project = "engagelab-mock"
author = "The engagelab-mock authors"
release = version = engagelab_mock.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "engagelab-mock"

myst_heading_anchors = 3

# Docstrings are plain text with names between single backticks.
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Without a network there is no inventory of Python's documentation, nor of the libraries'.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(collections|contextlib|typing|types|enum|abc|asyncio|os|pathlib|random|faker|msgspec|responses|hypothesis)\..*",
    ),
    # The engine's own machinery, which stands in signatures and has no page.
    (
        r"py:class",
        r"engagelab_mock\.(delivery\.(io\.Io|faults\.fault\.Draft|journal\.Keeper|probe\.Probe|transport\.wire\.Wire"
        r"|outcome\.TransportFailure)|messages\.template\.Rendered|clock\.(base\.(Agenda|Condition)|real\.Setting"
        r"|virtual\.Companion)|explore\.(schedules\.Family|player\.Baseline|tape\.file\.(Head|Answer))"
        r"|checks\.(check\.Fix|finding\.(Change|Sent)|trial\.Trial))",
    ),
    # Names of types in the options' annotations, each explained where it stands.
    (r"py:class", r"Observe|WaitIdle|Effects|Statuses|Stall"),
    # Imported for type checkers only, or a name for a longer type: they stand in signatures as they are written.
    (
        r"py:class",
        r"(WSGIApplication|AsgiApp|SignatureClock|WSGIEnvironment|StartResponse|UnsetType|Wire|TransportFailure"
        r"|Batching|Engine|Ledger|Messages|RestApi|Rules|ScenarioChoice|Store|Templates"
        r"|Contents|LifecycleChoice|FaultsChoice|Listener|Explored|Trial|Need|AbstractContextManager)",
    ),
]


def public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.Element) -> nodes.Node | None:
    """Point a type in a signature to where the reference has it: at the top of the package, not in its module."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in dir(engagelab_mock):
        return None
    python = env.domains["py"]
    target = f"engagelab_mock.{name}"
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contents)


def strip_blocks(app: Sphinx, doctree: nodes.document) -> None:
    """Take the empty lines off the ends of what is included up to a comment."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.astext().strip("\n")
        block.children = [nodes.Text(block.rawsource)]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", strip_blocks)
    app.connect("missing-reference", public_name)
