"""What the HTML page is made of: its terms, figures, groups, drawings, and templates."""
