-- The peer of the benchmark: what each workload asks of the services, and what it answers.
--
-- Bodies that are moved whole are decoded to see that they are JSON, and then moved as text: this
-- lua-cjson cannot tell an empty array from an empty object, so it would write `[]` as `{}`.

local cjson = require "cjson.safe"

local encode, decode = cjson.encode, cjson.decode
local escape = ngx.escape_uri

local peer = {}

-- Asks for all at the same time. Returns a list of what was decoded, and one of the texts.
-- Where one fails nothing is returned: the request ends with 502 or 504.
local function ask(calls)
    local replies = { ngx.location.capture_multi(calls) }
    local values, texts = {}, {}
    for i, reply in ipairs(replies) do
        if reply.status ~= 200 or reply.truncated then
            ngx.exit(reply.status == 504 and 504 or 502)
        end
        local value, problem = decode(reply.body)
        if problem then
            ngx.log(ngx.ERR, calls[i][1], ": ", problem)
            ngx.exit(502)
        end
        values[i], texts[i] = value, reply.body
    end
    return values, texts
end

local function answer(...)
    local body = table.concat({ ... })
    ngx.header.content_length = #body
    ngx.print(body)
end

-- The last part of the path, escaped, and as it stands.
local function asked()
    local id = ngx.var.uri:match("^/w%d/([^/]+)$")
    if not id then
        ngx.exit(404)
    end
    return escape(id), id
end

-- W1, and W5 with the slow services.
function peer.page(services)
    local part, id = asked()
    local values, texts = ask {
        { services .. "/0/prices/" .. part },
        { services .. "/1/stock/" .. part },
        { services .. "/2/profiles/" .. part },
        { services .. "/3/recommendations/" .. part },
        { services .. "/4/shipping/" .. part },
        { services .. "/5/promotions/" .. part },
    }
    local inventory, profile, recommendations, promotions = values[2], values[3], values[4], values[6]
    answer(
        '{"id":', encode(id),
        ',"price":', texts[1],
        ',"shipping":', texts[5],
        ',"available":', encode(inventory.available),
        ',"warehouse":', encode(inventory.warehouse.id),
        ',"name":', encode(profile.first_name),
        ',"postcode":', encode(profile.address.postcode),
        ',"recommended":', encode(recommendations.items),
        ',"promotion":', encode(promotions.best.label),
        "}"
    )
end

-- W2.
function peer.offer()
    local orders = ask { { "/quick/0/orders/" .. asked() } }
    local order = orders[1]
    local values, texts = ask {
        { "/quick/1/customers/" .. escape(order.customer_id) },
        { "/quick/2/products/" .. escape(order.product_id) },
    }
    local customer = values[1]
    local _, quotes = ask {
        { "/quick/3/quotes/" .. escape(order.product_id), { args = { tier = customer.tier } } },
    }
    answer(
        '{"order":', encode(order.id),
        ',"quantity":', encode(order.quantity),
        ',"customer":', encode(customer.name),
        ',"product":', texts[2],
        ',"quote":', quotes[1],
        "}"
    )
end

-- W4.
function peer.overview()
    local part = asked()
    local values, texts = ask {
        { "/quick/0/catalogue/" .. part },
        { "/quick/1/history/" .. part },
        { "/quick/2/reviews/" .. part },
    }
    answer(
        '{"catalogue":', texts[1],
        ',"orders":', encode(values[2].summary.total),
        ',"rating":', encode(values[3].summary.total),
        "}"
    )
end

return peer
