// Java's own client as everybody makes it: over plain HTTP it offers HTTP/2 with each request.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

class Portfolio {
  public static void main(String[] arguments) throws Exception {
    String body = new String(System.in.readAllBytes(), "UTF-8");
    HttpClient client = HttpClient.newHttpClient();
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("content-type", "application/json")
            .header("authorization", "Bearer " + arguments[1])
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    String first = client.send(request, HttpResponse.BodyHandlers.ofString()).body();
    String second = client.send(request, HttpResponse.BodyHandlers.ofString()).body();
    if (!first.equals(second)) throw new Exception("the same request was answered in two ways");
    System.out.print(first);
  }
}
