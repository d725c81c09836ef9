//! The rows of what people see in a browser.

use super::rows;

rows! {
    "Z-01" "A client that is unknown gets a page and no redirect.":
        "documents::the_authorization_endpoint_answers_with_a_page_and_no_redirect";
    "Z-02" "A redirect_uri that is not registered gets a page and no redirect."
        pending "needs the authorization endpoint";
    "Z-03" "A redirect_uri is compared byte by byte."
        pending "needs the authorization endpoint";
    "Z-04" "A loopback redirect may name any port."
        pending "needs the authorization endpoint";
    "Z-05" "A response_type that is missing or unknown is an error at the redirect."
        pending "needs the authorization endpoint";
    "Z-06" "A parameter twice is an error at the redirect."
        pending "needs the authorization endpoint";
    "Z-07" "No code_challenge is an error."
        pending "needs the authorization endpoint";
    "Z-08" "Another method than S256 is an error."
        pending "needs the authorization endpoint";
    "Z-09" "A challenge that is malformed is an error."
        pending "needs the authorization endpoint";
    "Z-10" "A scope that is not allowed is an error."
        pending "needs the authorization endpoint";
    "Z-11" "Nobody is redirected to an address that is not registered."
        pending "needs the authorization endpoint";
    "Z-12" "A redirect after credentials is 303."
        pending "needs the authorization endpoint";
    "Z-13" "A state is repeated encoded and bounded."
        pending "needs the authorization endpoint";
    "Z-14" "A redirect_uri has no parameters of the answer."
        pending "needs the authorization endpoint";
    "Z-15" "Only registered response modes are used."
        pending "needs the authorization endpoint";
    "Z-16" "Every answer names its issuer."
        pending "needs the authorization endpoint";
    "Z-17" "A request_uri elsewhere is not fetched."
        pending "needs the authorization endpoint";
    "Z-18" "A request object that is not good is an error."
        pending "needs request objects";
    "Z-19" "Pushed requests are authenticated and bounded."
        pending "needs pushed requests";
    "Z-20" "A pushed request is used once."
        pending "needs pushed requests";
    "Z-21" "A pushed request is in no cookie and no URL."
        pending "needs pushed requests";
    "Z-22" "The client of the query is that of the request."
        pending "needs pushed requests";
    "Z-23" "POST works as GET does."
        pending "needs the authorization endpoint";
    "Z-24" "A flood of requests writes nothing."
        pending "needs the authorization endpoint";
    "Z-25" "Parameters that are unknown or huge are bounded."
        pending "needs the authorization endpoint";
    "Z-26" "A client can tell servers apart."
        pending "needs the authorization endpoint";
    "Z-27" "A request does not change on its way."
        pending "needs the authorization endpoint";
    "L-01" "A login from another site is refused."
        pending "needs the login page";
    "L-02" "A consent counts for its own request."
        pending "needs the login page";
    "L-03" "No page can be framed."
        pending "needs the login page";
    "L-04" "A login begins a new session."
        pending "needs the login page";
    "L-05" "Cookies are bound to the host and hidden from scripts."
        pending "needs the login page";
    "L-06" "Names are escaped in pages."
        pending "needs the login page";
    "L-07" "No parameter says where to go next."
        pending "needs the login page";
    "L-08" "Nothing tells whether a user exists."
        pending "needs the login page";
    "L-09" "No step can be skipped."
        pending "needs the login page";
    "L-10" "A step is taken once."
        pending "needs the login page";
    "L-11" "A logout asks, and redirects to registered addresses alone."
        pending "needs the login page";
    "L-12" "A logout runs no script."
        pending "needs the login page";
    "L-13" "A wider scope asks again."
        pending "needs the login page";
    "L-14" "No page tells where somebody came from."
        pending "needs the login page";
    "L-15" "Passwords may be long, pasted and in any script."
        pending "needs the login page";
    "L-16" "The page and the grant count failures together."
        pending "needs the login page";
    "L-17" "The console has no cookie that others could use."
        pending "needs the login page";
}
