"""Words that are never masked, whatever password somebody chose: documents are made of them."""

from __future__ import annotations

from typing import Final

from gpuprep.components import KNOWN, ROLES
from gpuprep.fleet.report import HostReport
from gpuprep.model import StepKind
from gpuprep.model.codec import vocabulary

OWN_WORDS: Final = vocabulary(HostReport) | {*KNOWN, *ROLES, *StepKind}
