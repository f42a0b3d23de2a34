//! Tables of malformed heads.
