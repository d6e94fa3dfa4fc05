//! Shows results. Each form of report is a file of its own and a pure function of what was measured.

pub mod table;
