"""DrAction: skeleton clips of any topology -> frames, differentiably (arXiv 2603.18003, section 3)."""
