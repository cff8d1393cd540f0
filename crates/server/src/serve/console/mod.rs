//! `GET /console/…`: the console's files, which are part of the binary.
//!
//! Files whose names have a hash never change and are kept by browsers for ever; the page that names them is asked for
//! each time, so that a new version is there with the next look. Everything below `/console/` that is no file is a place
//! within the console: it gets the page, too.

mod encoding;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use encoding::Encoding;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// A file in all its forms.
struct File {
    /// Below `/console/`.
    path: &'static str,
    /// Changes with its content.
    tag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

const PAGE: &str = "index.html";

/// Where the files are whose names have a hash.
const HASHED: &str = "assets/";

/// What a page may load and do: only what is ours. Without `unsafe-inline`, so that nothing that gets into a page by
/// mistake is carried out.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self' data:; \
    img-src 'self' data: blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The console's files.
pub fn router() -> Router {
    let page = async |headers: HeaderMap| answer("", &headers);
    let file = async |Path(path): Path<String>, headers: HeaderMap| answer(&path, &headers);
    let moved = async || {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console/"));
        response
    };
    Router::new().route("/console", get(moved)).route("/console/", get(page)).route("/console/{*path}", get(file))
}

fn answer(path: &str, headers: &HeaderMap) -> Response {
    let file = find(path).or_else(|| if path.starts_with(HASHED) { None } else { find(PAGE) });
    let mut response = match file {
        Some(file) => of(file, headers),
        None => {
            let mut response =
                Response::new(Body::from("There is no such file. Reload the page: there may be a new version.\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

fn of(file: &'static File, headers: &HeaderMap) -> Response {
    let encoding = encoding::choose(headers, file.brotli.is_some(), file.gzip.is_some());
    let bytes = match encoding {
        Encoding::Brotli => file.brotli,
        Encoding::Gzip => file.gzip,
        Encoding::Plain => None,
    };
    let tag = format!("\"{}{}\"", file.tag, encoding.suffix());
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| encoding::names(value, &tag));
    let mut response = if is_known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(bytes.unwrap_or(file.plain)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(type_of(file.path)));
        if let Some(name) = encoding.name() {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        response
    };
    let caching = match file.path {
        PAGE => "no-store",
        path if path.starts_with(HASHED) => "public, max-age=31536000, immutable",
        _ => "no-cache",
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits and letters"));
    response
}

fn type_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCRIPT: File =
        File { path: "assets/index-a1b2.js", tag: "77", plain: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") };
    static ICON: File = File { path: "icon.svg", tag: "78", plain: b"<svg/>", brotli: None, gzip: None };

    fn asked(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    /// What a build without Node embeds; it must be right though nobody looks at it often.
    #[test]
    fn the_page_of_a_build_without_node_says_how_to_get_the_console() {
        let page = include_str!("placeholder.html");
        for part in ["<title>Godwit</title>", "built without its console", "npm run build", "godwit --help"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(
            !page.contains("<script") && !page.contains("style="),
            "the policy of the console's pages holds for it"
        );
    }

    #[tokio::test]
    async fn a_file_comes_in_the_form_that_is_asked_for_and_is_kept() {
        for (accepts, encoding, bytes) in
            [("gzip, br", Some("br"), "br"), ("gzip", Some("gzip"), "gz"), ("x", None, "plain")]
        {
            let response = of(&SCRIPT, &asked(&[(header::ACCEPT_ENCODING, accepts)]));
            assert_eq!(response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap()), encoding);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
            let tag = response.headers()[header::ETAG].clone();
            assert_eq!(body(response).await, bytes.as_bytes());
            let mut again = asked(&[(header::ACCEPT_ENCODING, accepts)]);
            again.insert(header::IF_NONE_MATCH, tag);
            let response = of(&SCRIPT, &again);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert!(body(response).await.is_empty());
        }
        let response = of(&ICON, &asked(&[(header::ACCEPT_ENCODING, "br")]));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "image/svg+xml");
        assert_eq!(body(response).await, b"<svg/>");
    }

    #[tokio::test]
    async fn places_within_the_console_get_its_page_and_missing_assets_do_not() {
        for path in ["", "index.html", "jobs/sms-job-1", "..", "assets"] {
            let response = answer(path, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
            assert!(String::from_utf8(body(response).await).unwrap().contains("<title>"), "{path}");
        }
        let response = answer("assets/index-old.js", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn nothing_foreign_runs_in_a_page() {
        for path in ["", "assets/none.js"] {
            let response = answer(path, &HeaderMap::new());
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"),
                "{policy}"
            );
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
        }
        let page = find(PAGE).expect("there is always a page");
        let text = String::from_utf8_lossy(page.plain).to_lowercase();
        assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains("javascript:"), "{text}");
    }
}
