//! The settings that the service works with.

use super::Outcome;
use crate::shapes::godwit::{self, DescribeSettingsRequest, DescribeSettingsResponse, SettingDescription};
use godwit_control::service::{Service, SetIn, Setting};
use godwit_model::time::Timestamp;

/// `DescribeSettings`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    _: DescribeSettingsRequest,
) -> Outcome<DescribeSettingsResponse> {
    let found = service.describe_settings();
    Ok(DescribeSettingsResponse {
        file: found.file.clone(),
        file_exists: found.file_exists,
        settings: found.settings.iter().cloned().map(description).collect(),
    })
}

fn description(setting: Setting) -> SettingDescription {
    SettingDescription {
        name: setting.name,
        value: setting.value,
        default: setting.default,
        is_default: setting.is_default,
        is_hidden: setting.is_hidden,
        set_in: match setting.set_in {
            SetIn::Default => godwit::SetIn::Default,
            SetIn::File => godwit::SetIn::File,
            SetIn::CommandLine => godwit::SetIn::CommandLine,
            SetIn::Environment => godwit::SetIn::Environment,
        },
        description: setting.about,
    }
}
