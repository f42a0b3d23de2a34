//! Parts of a whole: `envoy.type.v3.Percent` and `FractionalPercent`.

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;

pub(crate) const PERCENT: &str = "envoy.type.v3.Percent";
pub(crate) const FRACTIONAL: &str = "envoy.type.v3.FractionalPercent";

const MILLION: u64 = 1_000_000;

/// Whole percents; Envoy rounds as well where it takes such a value.
pub(crate) fn percent(fields: &Fields<'_>) -> Option<u32> {
    let Some(at) = fields.get("value", &Kind::Percent) else { return Some(0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    at.percent().map(|percent| percent.round() as u32)
}

/// Parts of a million; more than all is all.
pub(crate) fn fractional_percent(fields: &Fields<'_>) -> Option<u32> {
    let numerator = fields.number("numerator", 0..=u32::MAX).unwrap_or(0);
    let parts =
        fields.choice("denominator", &[("HUNDRED", 0, 100), ("TEN_THOUSAND", 1, 10_000), ("MILLION", 2, MILLION)]);
    u32::try_from((u64::from(numerator) * (MILLION / parts)).min(MILLION)).ok()
}
