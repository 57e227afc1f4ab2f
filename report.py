"""Write what MLflow keeps of finished runs as one page for a browser and one Markdown file."""

from paredown.commands import report

if __name__ == "__main__":
    report()
