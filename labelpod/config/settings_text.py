"""The settings as texts: `.env.example`, and the table of docs/settings.md."""

from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from labelpod.config.settings import PREFIX, Settings


def example() -> str:
    """The text of `.env.example`: every setting with its default, grouped, one line of why each."""
    lines = ["# Settings of labelpod. `deploy.py up` copies this file to .env and fills in the secrets."]
    for name, field in Settings.model_fields.items():
        extra: dict[str, Any] = field.json_schema_extra or {}  # type: ignore[assignment]
        if "group" in extra:
            lines += ["", f"# --- {extra['group']} ---"]
        lines.append(f"# {field.description}")
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        lines += [f"# One of: {', '.join(choices)}"] if choices else []
        lines.append(f"{PREFIX}{name}={_shown(field.default)}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """The table of docs/settings.md, in Markdown."""
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = f"`{shown}`" if (shown := _shown(field.default)) else ""
        rows.append(f"| `{PREFIX}{name}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    """A default as people write it; secrets have none."""
    return "" if isinstance(default, SecretStr) else str(default)
