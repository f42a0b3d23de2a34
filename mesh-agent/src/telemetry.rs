//! Counters, histograms and who talked to whom.
