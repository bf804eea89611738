"""The stages of a run: each reads files, writes files, and leaves a manifest when it is done."""
