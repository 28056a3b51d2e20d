"""Sphinx settings of the documentation: `python -m sphinx -W --keep-going -n -b html docs OUT`."""

from __future__ import annotations

import sys
from enum import EnumType
from inspect import iscoroutinefunction
from typing import Any, is_typeddict

from docutils import nodes
from sphinx.addnodes import (
    desc_addname,
    desc_content,
    desc_name,
    desc_sig_keyword,
    desc_sig_punctuation,
    desc_sig_space,
    desc_signature,
    pending_xref,
)
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

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "engagelab-mock"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# Docstrings are plain text with names between single backticks.
default_role = "code"
add_module_names = False
# Members stand in the order of the source, which is the order of use. Fields without a comment are in the signature.
autodoc_member_order = "bysource"
maximum_signature_line_length = 170
toc_object_entries_show_parents = "hide"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Links into the documentation of Python and of the libraries need a network. The build has none.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(collections|contextlib|typing|types|enum|abc|asyncio|os|pathlib|random|faker|msgspec|responses|hypothesis)\..*",
    ),
    # Internal types of the engine. They are in signatures, but have no page.
    (
        r"py:class",
        r"engagelab_mock\.(delivery\.(io\.Io|faults\.fault\.Draft|journal\.Keeper|probe\.Probe|transport\.wire\.Wire"
        r"|outcome\.TransportFailure)|messages\.template\.Rendered|clock\.(base\.(Agenda|Condition)|real\.Setting"
        r"|virtual\.Companion)|explore\.(families\.Family|graph\.StateGraph|played\.Baseline|orders\.Trace|tape\.file\.(Head|Answer))"
        r"|load\.(summary\.(Latency|Second|Case)|ledger\.Stage)"
        r"|checks\.(check\.Fix|finding\.(Change|Sent)|trial\.Trial))",
    ),
    # Names of types in the options' annotations. The text of each option explains its type.
    (r"py:class", r"Observe|WaitIdle|SetTime|SwitchPoint|Effects|Statuses|Stall"),
    # Imported for type checkers only, or a name for a longer type: they stand in signatures as they are written.
    (
        r"py:class",
        r"(WSGIApplication|AsgiApp|SignatureClock|WSGIEnvironment|StartResponse|UnsetType|Wire|TransportFailure"
        r"|Batching|Connection|Engine|Ledger|Messages|RestApi|Rules|ScenarioChoice|Store|Templates"
        r"|Contents|LifecycleChoice|FaultsChoice|Listener|Explored|Trial|Need|AbstractContextManager)",
    ),
]


def public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.Element) -> nodes.Node | None:
    """Link a type in a signature to its entry under the package's name, because its module has no entries."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in dir(engagelab_mock):
        return None
    python = env.domains["py"]
    target = f"engagelab_mock.{name}"
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contents)


def twin_of(owner: object, name: str) -> str:
    """Return the name of a method's async twin, or "" if it has none."""
    twins = (f"a{name}", f"a{name}_")
    return next((twin for twin in twins if iscoroutinefunction(getattr(owner, twin, None))), "")


def skip_twin(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave an async twin to the entry of the method that it is the twin of."""
    owner = getattr(member, "__qualname__", "").rpartition(".")[0]
    known = getattr(sys.modules.get(getattr(member, "__module__", "")), owner, None)
    plain = name[1:].removesuffix("_")
    return True if owner and name == twin_of(known, plain) else None


def add_twin(app: Sphinx, domain: str, kind: str, content: desc_content) -> None:
    """Give a method's entry a second line for its async twin, which takes the same arguments."""
    signature = content.parent[0] if kind == "method" else None
    if not isinstance(signature, desc_signature):
        return
    owner, _, name = signature["fullname"].rpartition(".")
    twin = twin_of(getattr(sys.modules[signature["module"]], owner, None), name)
    if not twin:
        return
    address = f"{signature['module']}.{owner}.{twin}"
    line = desc_signature("", "", ids=[address], module=signature["module"], fullname=f"{owner}.{twin}")
    line["class"], line["classes"] = signature["class"], signature["classes"]
    line += [desc_sig_keyword("", "await"), desc_sig_space()]
    line += [part.deepcopy() for part in signature.findall(desc_addname)]
    line += [desc_name("", twin), desc_sig_punctuation("", "(…)")]
    content.parent.insert(1, line)
    app.env.domains.python_domain.note_object(address, "method", address)


def shorten(
    app: Sphinx, what: str, name: str, member: Any, options: Any, given: str | None, returns: str | None
) -> Any:
    """Write a default that a field makes for itself as `...`, which Sphinx can read."""
    return (given.replace("<factory>", "..."), returns) if given else None


def complete(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Add the values of an enumeration, and the options that a `TypedDict` takes over from another."""
    if isinstance(member, EnumType):
        lines += ["", f"Values: {', '.join(f'``{each.value}``' for each in member)}."]
    if is_typeddict(member):
        bases = [base.__name__ for base in getattr(member, "__orig_bases__", ()) if is_typeddict(base)]
        lines += [line for base in bases for line in ("", f"Takes the keys of :class:`~engagelab_mock.{base}`, too.")]


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", public_name)
    app.connect("autodoc-skip-member", skip_twin)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", complete)
    app.connect("object-description-transform", add_twin)
