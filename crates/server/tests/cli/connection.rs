//! How the service, its keys and the region are found.

use crate::stand_in::StandIn;
use crate::{folder, godwit, run, told};

#[test]
fn no_service_is_status_3_and_says_how_to_start_one() {
    let folder = folder();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = godwit(folder.path(), &["runs", "list", "--endpoint", &free.to_string()])
        .env("AWS_ACCESS_KEY_ID", "GW")
        .env("AWS_SECRET_ACCESS_KEY", "s")
        .output();
    let (status, out, err) = told(output.unwrap());
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(err.contains(&free.to_string()) && err.contains("godwit serve --data"), "{err}");
}

#[test]
fn no_keys_is_status_4_and_names_the_file_that_serve_writes() {
    let folder = folder();
    let (status, _, err) = run(folder.path(), &["runs", "list"]);
    assert_eq!(status, 4, "{err}");
    assert!(err.contains(".aws/credentials") && err.contains("AWS_SHARED_CREDENTIALS_FILE=DIR/credentials"), "{err}");
}

#[test]
fn keys_and_region_may_be_in_the_config_file_alone() {
    let folder = folder();
    let service = StandIn::start();
    let keys = |id: &str| format!("aws_access_key_id = {id}\naws_secret_access_key = s\n");
    let config = format!("[default]\nregion = eu-west-9\n{}[profile other]\n{}", keys("GW7"), keys("GW8"));
    std::fs::create_dir(folder.path().join(".aws")).unwrap();
    std::fs::write(folder.path().join(".aws/config"), &config).unwrap();
    std::fs::write(folder.path().join("elsewhere"), config.replace("GW7", "GW9")).unwrap();
    for (variable, value, scope) in [
        ("AWS_PROFILE", "", "Credential=GW7/"),
        ("AWS_PROFILE", "other", "Credential=GW8/"),
        ("AWS_CONFIG_FILE", "elsewhere", "Credential=GW9/"),
        ("AWS_PROFILE", "", "/eu-west-9/sms/"),
        ("AWS_PROFILE", "other", "/us-east-1/sms/"),
        ("AWS_DEFAULT_REGION", "r2", "/r2/sms/"),
        ("AWS_REGION", "r3", "/r3/sms/"),
    ] {
        let mut command = godwit(folder.path(), &["images", "list", "--endpoint", &service.endpoint]);
        let (status, _, err) = told(command.env(variable, value).output().unwrap());
        assert_eq!((status, err.as_str()), (0, ""), "{variable}={value}");
        let sent = service.last_authorization();
        assert!(sent.contains(scope), "{variable}={value}: {sent}");
    }
}

#[test]
fn the_variables_of_aws_tools_say_where_the_service_is_and_empty_ones_say_nothing() {
    let folder = folder();
    let service = StandIn::start();
    let nowhere = "http://127.0.0.1:1";
    for (own, sms, all, status) in [
        (service.endpoint.as_str(), nowhere, nowhere, 0),
        ("", service.endpoint.as_str(), nowhere, 0),
        ("", "", service.endpoint.as_str(), 0),
        ("", nowhere, service.endpoint.as_str(), 3),
    ] {
        let mut command = godwit(folder.path(), &["images", "list", "--region", "", "--profile", ""]);
        command.env("GODWIT_ENDPOINT", own).env("AWS_ENDPOINT_URL_SMS", sms).env("AWS_ENDPOINT_URL", all);
        let output = command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output();
        assert_eq!(told(output.unwrap()).0, status, "{own} {sms} {all}");
    }
    assert!(service.last_authorization().contains("/us-east-1/sms/"));
}

#[test]
fn what_is_no_region_is_wrong_usage_whether_there_are_keys_or_not() {
    let folder = folder();
    let (status, out, err) = run(folder.path(), &["runs", "list", "--region", "eu/west"]);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("'eu/west' is not a region"), "{err}");
    let (status, _, err) =
        told(godwit(folder.path(), &["runs", "list"]).env("AWS_REGION", "eu west").output().unwrap());
    assert_eq!(status, 2, "{err}");
    let (status, _, err) = run(folder.path(), &["serve", "--data", "data", "--region", "a\nb"]);
    assert_eq!(status, 2, "{err}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_password_in_the_endpoint_is_not_repeated() {
    let folder = folder();
    for variable in ["GODWIT_ENDPOINT", "AWS_ENDPOINT_URL_SMS", "AWS_ENDPOINT_URL"] {
        for (args, status) in [(&["runs", "list"][..], 2), (&["runs", "list", "--help"], 0), (&["--help"], 0)] {
            let output = godwit(folder.path(), args).env(variable, "http://u:hunter2@127.0.0.1:1").output();
            let (ended, out, err) = told(output.unwrap());
            assert_eq!(ended, status, "{err}");
            assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
        }
    }
}
