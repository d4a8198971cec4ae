//! What `demo` says when it has started: what to try.

use std::net::SocketAddr;
use std::path::Path;

use crate::demo::Demo;

/// The text to print. `listen` is the proxy's address, `routes` the folder it serves.
pub fn banner(demo: &Demo, listen: SocketAddr, routes: &Path) -> String {
    let board = demo.control();
    let page = routes.join("product-page.yaml");
    let page = page.display();
    format!(
        "\
The shop is open: twelve services behind http://{listen}, their switchboard on {board}.
In another terminal, ask for a page:

  curl -i http://{listen}/v1/products/42 -H 'authorization: Bearer ada'
  curl -i http://{listen}/v1/products/42         # a stranger: see x-anabranch-degraded
  curl -s http://{listen}/v1/categories/kitchen/products
  curl -i http://{listen}/v1/checkout -H 'idempotency-key: k-1' -H 'content-type: application/json' \\
       -d '{{\"cart_id\":\"c-1\",\"payment_token\":\"tok_visa\"}}'

Break something, ask again, and read `warnings`:

  curl -X POST {board}/recommendations/down   # its port is closed
  curl -X POST {board}/inventory/slow         # two seconds more
  curl -X POST {board}/pricing/broken         # a 500, a cut, no JSON, in turns
  curl -X POST {board}/pricing/up             # well again
  curl {board}                                # every service, its state, its requests

Edit {page} while this runs: the next request is answered by the new text. A wrong
edit is refused with its reasons in this log, and the old text stays in force.
Ctrl-C ends it all.
"
    )
}
