//! Whose licence a guest runs under at the target, and what each platform allows.
//!
//! Rules of the seed service: Linux is always brought along with its own licence; Windows can have either, and unless
//! the customer says, a Windows server gets the target's and a Windows client keeps its own.

use crate::server::Platform;
use serde::{Deserialize, Serialize};

/// Whose licence the guest runs under at the target. Where one may be absent, that means that Godwit chooses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum LicenseType {
    /// Provided by the target.
    #[serde(rename = "AWS")]
    Aws,
    /// The customer's own.
    #[serde(rename = "BYOL")]
    Byol,
}

/// A licence that a platform does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the licence type {} is not possible for a {} server: such servers keep their own licence, so choose BYOL or leave \
     the choice to Godwit",
    licence.as_str(), platform.as_str()
)]
pub struct NotAllowed {
    /// What runs in the server.
    pub platform: Platform,
    /// What was asked for.
    pub licence: LicenseType,
}

impl LicenseType {
    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            LicenseType::Aws => "AWS",
            LicenseType::Byol => "BYOL",
        }
    }

    /// The type of that name.
    pub fn parse(text: &str) -> Option<LicenseType> {
        [LicenseType::Aws, LicenseType::Byol].into_iter().find(|l| l.as_str() == text)
    }
}

/// The licence that a server gets. A platform that is not known refuses nothing, and decides nothing: `None` until it
/// is known.
pub fn choose(platform: Option<Platform>, asked: Option<LicenseType>) -> Result<Option<LicenseType>, NotAllowed> {
    match (platform, asked) {
        (Some(platform @ Platform::Linux), Some(licence @ LicenseType::Aws)) => Err(NotAllowed { platform, licence }),
        (Some(Platform::Linux | Platform::WindowsClient), None) => Ok(Some(LicenseType::Byol)),
        (Some(Platform::WindowsServer), None) => Ok(Some(LicenseType::Aws)),
        (_, asked) => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_and_wish_is_decided() {
        use LicenseType::{Aws, Byol};
        use Platform::{Linux, WindowsClient, WindowsServer};
        let rows = [
            (Some(Linux), None, Ok(Some(Byol))),
            (Some(Linux), Some(Byol), Ok(Some(Byol))),
            (Some(Linux), Some(Aws), Err(NotAllowed { platform: Linux, licence: Aws })),
            (Some(WindowsServer), None, Ok(Some(Aws))),
            (Some(WindowsServer), Some(Byol), Ok(Some(Byol))),
            (Some(WindowsServer), Some(Aws), Ok(Some(Aws))),
            (Some(WindowsClient), None, Ok(Some(Byol))),
            (Some(WindowsClient), Some(Byol), Ok(Some(Byol))),
            (Some(WindowsClient), Some(Aws), Ok(Some(Aws))),
            (None, None, Ok(None)),
            (None, Some(Byol), Ok(Some(Byol))),
            (None, Some(Aws), Ok(Some(Aws))),
        ];
        for (platform, asked, expected) in rows {
            assert_eq!(choose(platform, asked), expected, "{platform:?} {asked:?}");
        }
        let refused = choose(Some(Linux), Some(Aws)).unwrap_err().to_string();
        assert!(refused.contains("AWS") && refused.contains("Linux") && refused.contains("choose BYOL"), "{refused}");
        assert_eq!(LicenseType::parse("BYOL"), Some(Byol));
    }
}
