import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpResponse.BodySubscriber;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * A group task from a Java backend (11 or newer), over livecard's gateway: `java Backend.java`, no libraries.
 *
 * <p>Standard input is what the page posts to the backend: {"js_code", "encryptedData", "iv"}, from wx.login
 * and wx.getChatToolInfo. Standard output is what the page gets, a line each.
 */
public class Backend {
    static final HttpClient HTTP = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();
    static final int[] PAUSES = {1, 2, 4, 8, 16};

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(System.getenv("GATEWAY_URL") + path))
                .header("Authorization", "Bearer " + System.getenv("GATEWAY_KEY"))
                .header("Content-Type", "application/json");
    }

    /**
     * GET, or POST a body. Every try has the same Idempotency-Key, so what was done is not done again. In
     * production keep the key beside your own row before the first try, and a restart repeats nothing either.
     */
    static Json call(String path, Map<String, Object> body) throws Exception {
        var builder = request(path).timeout(Duration.ofSeconds(15));
        builder.header("Idempotency-Key", UUID.randomUUID().toString());
        if (body != null) builder.POST(BodyPublishers.ofString(Json.write(body)));
        var request = builder.build();
        for (int tried = 0; ; tried++) {
            long pause;
            try {
                var answer = HTTP.send(request, BodyHandlers.ofString(UTF_8));
                if (answer.statusCode() < 300) return new Json(answer.body());
                var retryAfter = answer.headers().firstValue("Retry-After"); // of 503, and 409 under way
                if (retryAfter.isEmpty() || tried == PAUSES.length)
                    throw new IllegalStateException(answer.statusCode() + " " + path + ": " + answer.body());
                pause = Long.parseLong(retryAfter.get());
            } catch (IOException refusedCutOrTimedOut) {
                if (tried == PAUSES.length) throw refusedCutOrTimedOut;
                pause = PAUSES[tried];
            }
            Thread.sleep(pause * 1000);
        }
    }

    interface Reader {
        /** One event; true ends the reading. */
        boolean read(String type, Json event) throws Exception;
    }

    /** Hand on the events of a stream, type and data. After a cut it goes on behind the last one. */
    static void follow(String path, Reader reader) throws Exception {
        for (String last = null; ; Thread.sleep(1000)) {
            var request = request(path);
            if (last != null) request.header("Last-Event-ID", last);
            try {
                var answer = HTTP.send(request.build(), head -> new Lines());
                if (answer.statusCode() != 200 && answer.headers().firstValue("Retry-After").isEmpty())
                    throw new IllegalStateException(answer.statusCode() + " " + path);
                var event = new HashMap<String, String>();
                try (var lines = answer.body()) {
                    for (String line; (line = lines.next()) != null; ) {
                        var parts = line.split(": ", 2);
                        if (parts.length == 2) event.put(parts[0], parts[1]);
                        if (line.isEmpty() && event.containsKey("data")) {
                            last = event.getOrDefault("id", last);
                            if (reader.read(event.get("event"), new Json(event.get("data")))) return;
                            event.clear();
                        }
                    }
                }
            } catch (IOException refusedOrCut) {
                continue;
            }
        }
    }

    /** The lines of a stream as they come, all of them: those of BodyHandlers forget at a cut what nobody has read. */
    static class Lines implements BodySubscriber<Lines>, AutoCloseable {
        private final BlockingQueue<Optional<String>> arrived = new LinkedBlockingQueue<>();
        private final ByteArrayOutputStream line = new ByteArrayOutputStream();
        private volatile Flow.Subscription subscription;

        /** Null at the end or cut, or where none came for a minute: the gateway sends one every 15 seconds. */
        String next() throws InterruptedException {
            var next = arrived.poll(60, TimeUnit.SECONDS);
            return next == null ? null : next.orElse(null);
        }

        @Override
        public CompletionStage<Lines> getBody() {
            return CompletableFuture.completedStage(this);
        }

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(List<ByteBuffer> buffers) {
            for (var buffer : buffers)
                while (buffer.hasRemaining()) {
                    byte next = buffer.get();
                    if (next != '\n') {
                        line.write(next);
                    } else {
                        arrived.add(Optional.of(line.toString(UTF_8)));
                        line.reset();
                    }
                }
        }

        @Override
        public void onError(Throwable cut) {
            onComplete();
        }

        @Override
        public void onComplete() {
            arrived.add(Optional.empty());
        }

        @Override
        public void close() {
            subscription.cancel();
        }
    }

    public static void main(String[] args) throws Exception {
        var page = new Json(new String(System.in.readAllBytes(), UTF_8));
        // README begins
        // Who is it, and in which chat? The page sent what wx.login and wx.getChatToolInfo gave it.
        var session = call("/v1/sessions", Map.of("appid", "wx1", "js_code", page.get("js_code")));
        var me = call("/v1/rooms/bind", Map.of(
                "session", session.get("session"),
                "encryptedData", page.get("encryptedData"), "iv", page.get("iv")));

        var participants = List.of(me.get("group_openid"), "gp-bob"); // whom wx.selectGroupMembers gave the page
        var activity = call("/v1/activities", Map.of(
                "appid", "wx1", "template", "complete", "title", "团建报名统计", "room", me.get("room"),
                "publisher", me.get("group_openid"), "participants", participants));
        show(activity.get("share_menu")); // the page hands it to wx.updateShareMenu, and shares

        var card = "/v1/activities/" + URLEncoder.encode((String) activity.get("activity_id"), UTF_8);
        follow(card + "/events", (type, change) -> {
            if (type.equals("snapshot")) { // from here on no change is missed; one after a cut may show all
                var done = call(card + "/members?state=done&limit=500", null).objects("members");
                if (done.stream().anyMatch(who -> who.get("group_openid").equals(me.get("group_openid"))
                        && "confirmed".equals(who.get("delivered")))) return true;
                call(card + "/complete", Map.of("openids", List.of(session.get("openid"))));
            }
            return type.equals("livecard.card.delivered") // WeChat confirmed it: the chat says so
                    && change.in("data").list("members").contains(me.get("group_openid"));
        });

        var missing = call(card + "/missing?entrance_path=/pages/task", null);
        show(missing.get("notify")); // the page hands it to wx.notifyGroupMembers
        // README ends
    }

    /** Print what the page gets. */
    static void show(Object answer) {
        new java.io.PrintStream(System.out, true, UTF_8).println(Json.write(answer));
    }

    /** JSON, for want of a library: your backend has one. */
    static class Json {
        private final Map<?, ?> object;
        private String text;
        private int at;

        Json(String text) {
            this.text = text;
            this.object = (Map<?, ?>) value();
        }

        private Json(Map<?, ?> object) {
            this.object = object;
        }

        Object get(String name) {
            return object.get(name);
        }

        Json in(String name) {
            return new Json((Map<?, ?>) object.get(name));
        }

        List<?> list(String name) {
            return (List<?>) object.get(name);
        }

        List<Json> objects(String name) {
            return list(name).stream().map(each -> new Json((Map<?, ?>) each)).collect(Collectors.toList());
        }

        static String write(Object value) {
            if (value instanceof Map)
                return ((Map<?, ?>) value).entrySet().stream()
                        .map(each -> write(each.getKey()) + ":" + write(each.getValue()))
                        .collect(Collectors.joining(",", "{", "}"));
            if (value instanceof List)
                return ((List<?>) value).stream().map(Json::write).collect(Collectors.joining(",", "[", "]"));
            if (!(value instanceof String)) return String.valueOf(value);
            var written = new StringBuilder("\"");
            for (char each : ((String) value).toCharArray())
                written.append(each < ' ' || each == '"' || each == '\\' ? String.format("\\u%04x", (int) each) : each);
            return written.append('"').toString();
        }

        private char next() {
            while (Character.isWhitespace(text.charAt(at))) at++;
            return text.charAt(at);
        }

        private boolean more(char end) {
            if (next() == ',') at++;
            if (next() != end) return true;
            at++;
            return false;
        }

        private Object value() {
            char first = next();
            if (first == '"') return string();
            if (first != '{' && first != '[') {
                int from = at;
                while (at < text.length() && ",]} \r\n".indexOf(text.charAt(at)) < 0) at++;
                var word = text.substring(from, at);
                if (word.equals("null")) return null;
                if (word.equals("true") || word.equals("false")) return word.equals("true");
                return word.matches("-?\\d+") ? (Object) Long.valueOf(word) : Double.valueOf(word);
            }
            at++;
            var list = new ArrayList<Object>();
            var map = new LinkedHashMap<String, Object>();
            while (more(first == '{' ? '}' : ']')) {
                if (first == '[') {
                    list.add(value());
                    continue;
                }
                next();
                var name = string();
                next();
                at++; // the colon
                map.put(name, value());
            }
            return first == '[' ? list : map;
        }

        private String string() {
            var read = new StringBuilder();
            for (at++; text.charAt(at) != '"'; at++) {
                if (text.charAt(at) != '\\') {
                    read.append(text.charAt(at));
                } else if (text.charAt(++at) == 'u') {
                    read.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
                    at += 4;
                } else {
                    int escape = "bfnrt".indexOf(text.charAt(at));
                    read.append(escape < 0 ? text.charAt(at) : "\b\f\n\r\t".charAt(escape));
                }
            }
            at++;
            return read.toString();
        }
    }
}
