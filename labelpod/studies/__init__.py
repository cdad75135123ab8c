"""Studies in Orthanc: push, list, copy, migrate."""
