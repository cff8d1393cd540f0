//! The settings in force, by the command line against the real service.

use crate::service::Service;
use crate::{folder, godwit, told};
use serde_json::Value;

const SETTINGS: &str = "[audit]\nkeep = '30d'\n[jobs]\nattempts = 6\n[notifications.smtp]\nhost = 'mail.example.org'\n\
    from = 'godwit@example.org'\nuser = 'geheim-user'\npassword_variable = 'SMTP_GEHEIM'\n";

#[test]
fn settings_in_force_are_listed_with_where_they_were_set_and_without_secrets() {
    let folder = folder();
    std::fs::write(folder.path().join("own.toml"), SETTINGS).unwrap();
    std::fs::write(folder.path().join("geheim.key"), format!("{}\n", "ab".repeat(32))).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("geheim.key"), private).unwrap();
    let args = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--config", "own.toml"];
    let mut command = godwit(folder.path(), &args);
    command.args(["--master-key", "file:geheim.key"]);
    command.env("GODWIT_LOG", "debug").env("SMTP_GEHEIM", "geheim-password");
    let service = Service::of(folder.path(), command);
    let ask = |args: &[&str]| {
        let (status, out, err) = service.ask(folder.path(), args);
        assert_eq!((status, err.as_str()), (0, ""), "{args:?}: {out}");
        out
    };

    let text = ask(&["settings", "list", "--json"]);
    assert!(!text.to_lowercase().contains("geheim"), "{text}");
    let all: Value = serde_json::from_str(&text).unwrap();
    let of = |name: &str| {
        let found = all.as_array().unwrap().iter().find(|setting| setting["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {text}")).clone()
    };
    let shown = |name: &str| {
        let setting = of(name);
        let text = |member: &str| setting[member].as_str().unwrap_or_default().to_owned();
        (text("value"), text("default"), setting["is_default"] == true, text("set_in"))
    };
    let row = |value: &str, default: &str, is_default, set_in: &str| {
        (value.to_owned(), default.to_owned(), is_default, set_in.to_owned())
    };
    assert_eq!(shown("audit.keep"), row("30d", "365d", false, "FILE"));
    assert_eq!(shown("jobs.attempts"), row("6", "6", true, "FILE"));
    assert_eq!(shown("store.staging"), row("7d", "7d", true, "DEFAULT"));
    assert_eq!(shown("--listen"), row("127.0.0.1:0", "127.0.0.1:8384", false, "COMMAND_LINE"));
    assert_eq!(shown("--log"), row("debug", "info", false, "ENVIRONMENT"));
    let (file, _, is_default, _) = shown("--config");
    assert!(file.starts_with('/') && file.ends_with("/own.toml") && !is_default, "{file}");
    assert_eq!(shown("--region"), row("us-east-1", "us-east-1", true, "DEFAULT"));
    for name in ["--master-key", "notifications.smtp.user", "notifications.smtp.password_variable"] {
        let setting = of(name);
        assert!(setting["is_hidden"] == true && setting.get("value").is_none(), "{setting}");
    }
    assert!(of("--data")["description"].as_str().unwrap().starts_with("Folder of state"), "{}", of("--data"));

    let list = ask(&["settings", "list", "--changed"]);
    let line = list.lines().find(|line| line.starts_with("audit.keep")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains("30d") && line.contains("365d") && line.contains("file"), "{line}");
    assert!(!list.contains("store.staging") && list.contains("(set, not shown)"), "{list}");
    assert!(list.contains("/own.toml. What is changed counts from the next start on."), "{list}");
    assert!(ask(&["settings", "list"]).contains("store.staging"));

    // Whoever may only read sees them, too.
    ask(&["users", "create", "ann", "--policy", "read-only", "--credentials-file", "ann.credentials"]);
    let mut command = godwit(folder.path(), &["settings", "list", "--json"]);
    command.env("GODWIT_ENDPOINT", &service.endpoint);
    command.env("AWS_SHARED_CREDENTIALS_FILE", folder.path().join("ann.credentials"));
    assert_eq!(told(command.output().unwrap()).0, 0);
}
