package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// WhoAmI implements registry.Callers.
func (c *Client) WhoAmI(ctx context.Context, producer string) (answer registry.Caller, err error) {
	query := url.Values{}
	if producer != "" {
		query.Set("producer", producer)
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/whoami", query: query, repeat: true}, nil, &answer)
	return answer, err
}

// ServerInfo is what a server says of itself to everybody.
type ServerInfo struct {
	// Version of the program.
	Version string
	// APIs that it serves, as "v1".
	APIs []string
}

// ServerInfo asks the server for its version. It needs no token.
func (c *Client) ServerInfo(ctx context.Context) (ServerInfo, error) {
	response, err := c.do(ctx, call{method: http.MethodGet, path: "/openapi.json", repeat: true})
	if err != nil {
		return ServerInfo{}, err
	}
	defer response.Body.Close()
	if isPage(response) {
		return ServerInfo{}, foreign(response)
	}
	var document struct {
		Info  struct{ Version string }
		Paths map[string]json.RawMessage
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&document); err != nil {
		return ServerInfo{}, fmt.Errorf("reading the registry's response: %w", err)
	}
	info := ServerInfo{Version: document.Info.Version}
	for path := range document.Paths {
		first, _, below := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if below && len(first) > 1 && first[0] == 'v' && !slices.Contains(info.APIs, first) {
			info.APIs = append(info.APIs, first)
		}
	}
	slices.Sort(info.APIs)
	return info, nil
}
