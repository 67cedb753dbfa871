"""Tasks: data + encoder + head + loss + scores. One file each, one line each in `TASKS`."""

from dnalm.tasks.language import LanguageTask

TASKS = {"language": LanguageTask}
