"""For `ros2 doctor`: a check and a report, which are what `omni doctor` finds with the configuration in /etc/omni."""

from __future__ import annotations

import argparse

from ros2doctor.api import DoctorCheck, DoctorReport, Report, Result
from ros2doctor.api.format import doctor_error, doctor_warn

from omni_core.cli import doctor
from omni_core.cli.doctor.finding import Finding, Level, Machine

CATEGORY = "omni"


def findings() -> list[Finding]:
    parser = argparse.ArgumentParser()
    doctor.configure(parser)
    return list(doctor.examine(Machine(), parser.parse_args([])))


class OmniCheck(DoctorCheck):
    """Can this machine run omni."""

    def category(self) -> str:
        return CATEGORY

    def check(self) -> Result:
        result = Result()
        for finding in findings():
            text = f"omni: {finding.check}: {finding.text}. Fix: {finding.fix}"
            if finding.level is Level.PROBLEM:
                doctor_error(text)
                result.add_error()
            elif finding.level is Level.WARNING:
                doctor_warn(text)
                result.add_warning()
        return result


class OmniReport(DoctorReport):
    """All findings."""

    def category(self) -> str:
        return CATEGORY

    def report(self) -> Report:
        report = Report("OMNI OVERLAY")
        for finding in findings():
            report.add_to_report(finding.check, f"{finding.level.value}: {finding.text}")
            if finding.fix:
                report.add_to_report("", f"fix: {finding.fix}")
        return report
