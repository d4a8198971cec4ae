package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	callLimit = 500 * time.Millisecond
	bodyLimit = 4 << 20
)

// client keeps the connections to all services. It asks for no compression: the bodies stay as they are.
var client = &http.Client{Transport: &http.Transport{
	DialContext:         (&net.Dialer{Timeout: callLimit}).DialContext,
	MaxIdleConnsPerHost: 512,
	IdleConnTimeout:     90 * time.Second,
	DisableCompression:  true,
}}

// services are the addresses of the services with consecutive ports, from the first one on.
type services struct{ firstPort int }

type reply struct {
	status      int
	contentType string
	body        []byte
}

// get asks service n. The path is made of its parts, each of them escaped.
func (s services) get(ctx context.Context, n int, query url.Values, path ...string) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()

	target := fmt.Sprintf("http://127.0.0.1:%d", s.firstPort+n)
	for _, part := range path {
		target += "/" + url.PathEscape(part)
	}
	if query != nil {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := readAll(response)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return &reply{response.StatusCode, response.Header.Get("Content-Type"), body}, nil
}

// readAll reads the body into a buffer of the announced size.
func readAll(response *http.Response) ([]byte, error) {
	if response.ContentLength > bodyLimit {
		return nil, errors.New("the body is too large")
	}
	var buffer bytes.Buffer
	buffer.Grow(int(max(response.ContentLength, 0)) + bytes.MinRead)
	read, err := buffer.ReadFrom(io.LimitReader(response.Body, bodyLimit+1))
	if err == nil && read > bodyLimit {
		err = errors.New("the body is too large")
	}
	return buffer.Bytes(), err
}

// getJSON asks service n and decodes its answer into value; a *json.RawMessage takes it whole.
func (s services) getJSON(ctx context.Context, value any, n int, query url.Values, path ...string) error {
	reply, err := s.get(ctx, n, query, path...)
	if err != nil {
		return err
	}
	if reply.status != http.StatusOK {
		return fmt.Errorf("service %d answered %d", n, reply.status)
	}
	if raw, whole := value.(*json.RawMessage); whole {
		*raw = reply.body // Encoding the answer checks it.
		return nil
	}
	return json.Unmarshal(reply.body, value)
}

// together runs the calls at the same time. The first error ends the others.
func together(ctx context.Context, calls ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, call := range calls {
		group.Go(func() {
			if err := call(ctx); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
