// Go's own client: connections are kept, and the body is sent in chunks, as its length is not told.

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
)

func ask(url string, token string, body []byte) (string, error) {
	request, err := http.NewRequest("POST", url, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return "", err
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err == nil {
		var first, second string
		first, err = ask(os.Args[1], os.Args[2], body)
		if err == nil {
			second, err = ask(os.Args[1], os.Args[2], body)
		}
		if err == nil && first != second {
			err = fmt.Errorf("the same request was answered in two ways")
		}
		fmt.Print(first)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
