"""Make a folder that deploys of the first measured variant that meets a budget."""

from paredown.commands import pick

if __name__ == "__main__":
    pick()
