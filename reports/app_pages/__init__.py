"""The app's pages: scripts that Streamlit runs. They show what `reports.queries` returns, and compute nothing."""
