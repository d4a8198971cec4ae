package peer;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import io.netty.channel.ConnectTimeoutException;
import io.netty.handler.timeout.ReadTimeoutException;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.core.NestedExceptionUtils;
import org.springframework.core.codec.CodecException;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.reactive.function.client.WebClientException;
import reactor.core.publisher.Mono;

@RestController
class Routes {
    private final Services quick;
    private final Services slow;

    Routes(WebClient.Builder builder, @Value("${peer.first-port}") int firstPort) {
        quick = new Services(builder, firstPort);
        slow = new Services(builder, firstPort + 10);
    }

    record Inventory(int available, Warehouse warehouse) {}

    record Warehouse(String id) {}

    record Profile(@JsonProperty("first_name") String firstName, Address address) {}

    record Address(String postcode) {}

    record Recommendations(JsonNode items) {}

    record Promotions(Promotion best) {}

    record Promotion(String label) {}

    record Page(
            String id,
            JsonNode price,
            JsonNode shipping,
            int available,
            String warehouse,
            String name,
            String postcode,
            JsonNode recommended,
            String promotion) {}

    @GetMapping("/w1/{id}")
    Mono<Page> quickPage(@PathVariable String id) {
        return page(quick, id);
    }

    @GetMapping("/w5/{id}")
    Mono<Page> slowPage(@PathVariable String id) {
        return page(slow, id);
    }

    private static Mono<Page> page(Services services, String id) {
        return Mono.zip(
                        services.get(0, JsonNode.class, "/prices/{id}", id),
                        services.get(1, Inventory.class, "/stock/{id}", id),
                        services.get(2, Profile.class, "/profiles/{id}", id),
                        services.get(3, Recommendations.class, "/recommendations/{id}", id),
                        services.get(4, JsonNode.class, "/shipping/{id}", id),
                        services.get(5, Promotions.class, "/promotions/{id}", id))
                .map(all -> new Page(
                        id,
                        all.getT1(),
                        all.getT5(),
                        all.getT2().available(),
                        all.getT2().warehouse().id(),
                        all.getT3().firstName(),
                        all.getT3().address().postcode(),
                        all.getT4().items(),
                        all.getT6().best().label()));
    }

    record Order(
            String id,
            @JsonProperty("customer_id") String customerId,
            @JsonProperty("product_id") String productId,
            int quantity) {}

    record Customer(String name, String tier) {}

    record Offer(String order, int quantity, String customer, JsonNode product, JsonNode quote) {}

    @GetMapping("/w2/{id}")
    Mono<Offer> offer(@PathVariable String id) {
        return quick.get(0, Order.class, "/orders/{id}", id)
                .flatMap(order -> Mono.zip(
                                quick.get(1, Customer.class, "/customers/{id}", order.customerId()),
                                quick.get(2, JsonNode.class, "/products/{id}", order.productId()))
                        .flatMap(both -> {
                            Customer customer = both.getT1();
                            return quick.get(3, JsonNode.class, "/quotes/{id}?tier={tier}", order.productId(), customer.tier())
                                    .map(quote -> new Offer(
                                            order.id(), order.quantity(), customer.name(), both.getT2(), quote));
                        }));
    }

    @GetMapping("/w3/{id}")
    Mono<ResponseEntity<byte[]>> document(@PathVariable String id) {
        return quick.pass(0, "/document/{id}", id)
                .map(reply -> ResponseEntity.status(reply.getStatusCode())
                        .contentType(reply.getHeaders().getContentType())
                        .body(reply.getBody()));
    }

    record Summarized(Summary summary) {}

    record Summary(JsonNode total) {}

    record Overview(JsonNode catalogue, JsonNode orders, JsonNode rating) {}

    @GetMapping("/w4/{id}")
    Mono<Overview> overview(@PathVariable String id) {
        return Mono.zip(
                        quick.get(0, JsonNode.class, "/catalogue/{id}", id),
                        quick.get(1, Summarized.class, "/history/{id}", id),
                        quick.get(2, Summarized.class, "/reviews/{id}", id))
                .map(all -> new Overview(
                        all.getT1(), all.getT2().summary().total(), all.getT3().summary().total()));
    }

    @ExceptionHandler({WebClientException.class, CodecException.class, ReadTimeoutException.class})
    ResponseEntity<Map<String, String>> failed(Exception failure) {
        Throwable cause = NestedExceptionUtils.getMostSpecificCause(failure);
        if (cause instanceof ReadTimeoutException || cause instanceof ConnectTimeoutException) {
            return ResponseEntity.status(HttpStatus.GATEWAY_TIMEOUT).body(Map.of("error", "a service took too long"));
        }
        return ResponseEntity.status(HttpStatus.BAD_GATEWAY).body(Map.of("error", "a service failed"));
    }
}
