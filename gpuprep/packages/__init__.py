"""What package families differ in, behind one port."""
