//! The settings in force over the API.

use crate::scene::Scene;
use serde_json::json;

#[tokio::test]
async fn the_settings_in_force_are_described_without_what_is_hidden() {
    let scene = Scene::new().await;
    let told = scene.own("DescribeSettings", json!({})).await;
    assert_eq!((&told["file"], &told["fileExists"]), (&json!("/data/godwit.toml"), &json!(true)));
    let keep = json!({
        "name": "audit.keep", "value": "30d", "default": "365d", "isDefault": false, "isHidden": false, "setIn": "FILE",
        "description": "What audit.keep is.",
    });
    let url = json!({
        "name": "store.url", "isDefault": true, "isHidden": false, "setIn": "DEFAULT",
        "description": "What store.url is.",
    });
    let credentials = json!({
        "name": "store.s3.credentials", "default": "env", "isDefault": false, "isHidden": true, "setIn": "FILE",
        "description": "What store.s3.credentials is.",
    });
    let settings = &told["settings"];
    assert_eq!((&settings[0], &settings[1], &settings[2]), (&keep, &url, &credentials));
    assert_eq!((&settings[3]["setIn"], &settings[4]["setIn"]), (&json!("COMMAND_LINE"), &json!("ENVIRONMENT")));
    scene.end().await;
}
