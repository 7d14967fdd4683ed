DOCUMENTATION = """
module: stub_report
short_description: Writes what a test's inventory says the plan or the proof is
options:
  document:
    description: Name of the document.
    required: true
    type: str
"""
