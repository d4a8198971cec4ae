package peer;

import io.netty.channel.ChannelOption;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.springframework.http.ResponseEntity;
import org.springframework.http.client.reactive.ReactorClientHttpConnector;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Mono;
import reactor.netty.http.client.HttpClient;
import reactor.netty.resources.ConnectionProvider;

/** The services with consecutive ports, from the first one on. */
class Services {
    private static final Duration LIMIT = Duration.ofMillis(500);
    private static final int COUNT = 6;
    private static final int MAX_BODY = 4 << 20;

    private final List<WebClient> clients;

    Services(WebClient.Builder builder, int firstPort) {
        // The limits of the pool are for each service.
        var pool = ConnectionProvider.builder("services")
                .maxConnections(512)
                .pendingAcquireTimeout(LIMIT)
                .maxIdleTime(Duration.ofSeconds(60))
                .build();
        var client = HttpClient.create(pool)
                .option(ChannelOption.CONNECT_TIMEOUT_MILLIS, (int) LIMIT.toMillis())
                .responseTimeout(LIMIT);
        client.warmup().block();
        var common = builder.clone()
                .clientConnector(new ReactorClientHttpConnector(client))
                .codecs(codecs -> codecs.defaultCodecs().maxInMemorySize(MAX_BODY));
        clients = IntStream.range(0, COUNT)
                .mapToObj(n -> common.clone().baseUrl("http://127.0.0.1:" + (firstPort + n)).build())
                .toList();
    }

    /** Asks service n for JSON; another status than 200 to 299 is an error. */
    <T> Mono<T> get(int n, Class<T> type, String path, Object... values) {
        return clients.get(n).get().uri(path, values).retrieve().bodyToMono(type);
    }

    /** Asks service n; answers whatever it answers. */
    Mono<ResponseEntity<byte[]>> pass(int n, String path, Object... values) {
        return clients.get(n).get().uri(path, values).exchangeToMono(response -> response.toEntity(byte[].class));
    }
}
