package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const goodToken = "good-token/with+all~of-b64._="

// gate knows one token, whose holder may do everything to packages of "ci" and see backends.
type gate struct {
	mu   sync.Mutex
	away bool
}

func (g *gate) isAway() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.away
}

func (g *gate) Authenticate(_ context.Context, token storage.Secret) (access.Identity, error) {
	switch {
	case g.isAway():
		return access.Identity{}, access.ErrUnavailable
	case token.Reveal() != goodToken:
		return access.Identity{}, access.Unauthenticated("it is none that I know")
	}
	return access.Identity{Name: "pusher"}, nil
}

func (g *gate) Authorize(_ context.Context, who access.Identity, what access.Action) error {
	if what.Resource == access.Packages && what.Name == "ci" || what.Resource == access.Backends {
		return nil
	}
	return &access.ForbiddenError{Who: who.Name, What: what, Grant: "ask somebody"}
}

// guarded is a site behind the gate, and its log.
func guarded(t *testing.T, g *gate) (*site, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	var log bytes.Buffer
	metrics := prometheus.NewRegistry()
	s := newSite(t, server.Options{})
	guard := access.Guard(s.fixture.Registry, g, s.fixture.Registry.(access.Index))
	s.address = serve(t, server.NewHandler(guard, server.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics, Authenticator: g}))
	return s, &log, metrics
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestCredentials(t *testing.T) {
	t.Parallel()
	s, log, metrics := guarded(t, &gate{})
	for header, says := range map[string]string{
		"Bearer " + goodToken:                                 "",
		"bearer " + goodToken:                                 "",
		"BEARER   " + goodToken + "  ":                        "",
		basic("anybody:" + goodToken):                         "",
		basic(":" + goodToken):                                "",
		strings.ToLower("Basic") + basic(":" + goodToken)[5:]: "",
		"":                                      "the scheme must be",
		"Bearer":                                "the token is empty",
		"Bearer ":                               "the token is empty",
		"Bearer wrong-token":                    "it is none that I know",
		"Bearer " + goodToken + ",":             "it is none that I know",
		"Bearer " + goodToken + " " + goodToken: "contains invalid characters",
		"Bearer tök":                            "contains invalid characters",
		"Bearer " + strings.Repeat("x", 16<<10): "it is none that I know",
		"Bearer " + strings.Repeat("x", 16<<10+1): "the token is longer than",
		goodToken:                "the scheme must be",
		"Digest username=x":      "the scheme must be",
		"Negotiate " + goodToken: "the scheme must be",
		"Basic !!!":              "not base64",
		"Basic":                  "not user:password",
		basic(goodToken):         "not user:password",
		basic(goodToken + ":"):   "the token is empty",
		basic(goodToken + ":" + "x:" + goodToken): "it is none that I know", // the password may have a colon
		basic("a:" + goodToken + "\r\n"):          "contains invalid characters",
		basic("a:\x00" + goodToken):               "contains invalid characters",
	} {
		response, body := s.do(http.MethodGet, "/v1/backends", "", "Authorization: "+header)
		if says == "" {
			if response.StatusCode != http.StatusOK {
				t.Errorf("%.60q: %s %s", header, response.Status, body)
			}
			continue
		}
		var p wire.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatalf("%.60q: %s: %v", header, body, err)
		}
		if response.StatusCode != http.StatusUnauthorized || !strings.Contains(p.Detail, says) || p.Type != "https://artifactstore.dev/problems/unauthenticated" ||
			len(p.Errors) != 1 || p.Errors[0].Location != "Authorization" {
			t.Errorf("%.60q: %s %s; want a 401 that says %q", header, response.Status, body, says)
		}
		challenges := response.Header.Values("WWW-Authenticate")
		if len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Bearer realm=") || !strings.HasPrefix(challenges[1], "Basic realm=") {
			t.Errorf("%.60q: challenged by %q", header, challenges)
		}
		if strings.Contains(body, goodToken) || strings.Contains(body, "wrong-token") {
			t.Errorf("%.60q: the answer shows the token: %s", header, body)
		}
	}
	if response, body := s.do(http.MethodGet, "/v1/backends", ""); response.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "send a token") {
		t.Errorf("no token: %s %s", response.Status, body)
	}
	if response, body := s.do(http.MethodGet, "/v1/backends", "", "Authorization: Bearer x", "Authorization: Bearer "+goodToken); response.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "not several") {
		t.Errorf("two fields: %s %s", response.Status, body)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/openapi.json"} {
		if response, body := s.do(http.MethodGet, path, ""); response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
	// Strangers do not even learn which addresses there are.
	for _, path := range []string{"/", "/v1/nothing", "/v1/health", "/v1/uploads/" + s.session, "/v1//x", "/v1/packages/a/b/c/files/../d", "/livez/", "/v1/events", "/debug/pprof/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			if response, body := s.do(method, path, ""); response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s: %s %s", method, path, response.Status, body)
			}
		}
	}
	noTokensIn(t, log.String())
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		noTokensIn(t, family.String())
	}
}

func noTokensIn(t *testing.T, text string) {
	t.Helper()
	for _, token := range []string{goodToken, "wrong-token", base64.StdEncoding.EncodeToString([]byte(":" + goodToken))} {
		if strings.Contains(text, token) {
			t.Errorf("a token is shown: %s", text)
		}
	}
}

// TestForbidden: what is refused, in which words, and that the actor is who asked.
func TestForbidden(t *testing.T) {
	t.Parallel()
	g := &gate{}
	s, _, _ := guarded(t, g)
	token := "Authorization: Bearer " + goodToken
	open := func(producer string) (*http.Response, string) {
		return s.do(http.MethodPost, "/v1/uploads", `{"producer":"`+producer+`","name":"n","version":"1","retentionClass":"x"}`, "Content-Type: application/json", token)
	}
	response, body := open("other")
	var p wire.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusForbidden || p.Type != "https://artifactstore.dev/problems/forbidden" ||
		p.Detail != "pusher may not create packages.artifactstore.dev named other. To allow it: ask somebody" ||
		p.Denied == nil || *p.Denied != (wire.Denied{Who: "pusher", Verb: "create", Resource: "packages.artifactstore.dev", Name: "other"}) {
		t.Errorf("%s %s", response.Status, body)
	}
	for _, path := range []string{"/v1/packages/other/n/1", "/v1/packages/other/n/1/files/f", "/v1/packages/other/n", "/v1/events"} {
		if response, body := s.do(http.MethodGet, path, "", token); response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}

	// A stream is refused before it begins.
	if response, body := s.do(http.MethodGet, "/v1/events", "", token, "Accept: text/event-stream"); response.StatusCode != http.StatusForbidden {
		t.Errorf("a stream: %s %s", response.Status, body)
	}
	if response, body := s.do(http.MethodPost, "/v1/backends/first/verifications", "", token); response.StatusCode != http.StatusForbidden {
		t.Errorf("a verification: %s %s", response.Status, body)
	}
	// What is allowed is logged under the holder's name.
	response, body = open("ci")
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", response.Status, body)
	}
	session := response.Header.Get("Location")
	if response, body := s.do(http.MethodPut, session+"/files/f", "hello", token); response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", response.Status, body)
	}
	if response, body := s.do(http.MethodPost, session+"/publish", "", token); response.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", response.Status, body)
	}
	page, err := s.fixture.Registry.ReadEvents(context.Background(), registry.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if last := page.Events[len(page.Events)-1]; last.Actor != "pusher" {
		t.Errorf("the actor is %q", last.Actor)
	}
	// By path, which says whose package it is, and with a hint.
	for _, path := range []string{"/v1/packages/ci/n/1/files/f", "/v1/blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824?producer=ci"} {
		if response, body := s.do(http.MethodGet, path, "", token); response.StatusCode != http.StatusOK || body != "hello" {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
	if response, body := s.do(http.MethodGet, "/v1/blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824?producer=a%20b", "", token); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a hint that is no producer: %s %s", response.Status, body)
	}

	g.mu.Lock()
	g.away = true
	g.mu.Unlock()
	if response, body := s.do(http.MethodGet, "/v1/backends", "", token); response.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(body, "problems/access-unknown") || response.Header.Get("Retry-After") == "" {
		t.Errorf("while nobody can say: %s %s", response.Status, body)
	}
}

// TestAccessErrorsThroughClient: the client gives back the errors that the handler had.
func TestAccessErrorsThroughClient(t *testing.T) {
	t.Parallel()
	g := &gate{}
	s, _, _ := guarded(t, g)
	ctx := context.Background()
	broken := errors.New("the token cannot be read")
	failing, err := client.New("http://"+s.address, client.Options{Token: func() (storage.Secret, error) { return storage.Secret{}, broken }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(failing.Close)
	token := storage.NewSecret("wrong-token")
	client, err := client.New("http://"+s.address, client.Options{Token: func() (storage.Secret, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := client.ListBackends(ctx); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := client.HeadBlob(ctx, digest.Of(nil).SHA256); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("HEAD with a wrong token: %v", err)
	}
	token = storage.NewSecret(goodToken) // asked for before each request
	if _, err := client.ListBackends(ctx); err != nil {
		t.Error(err)
	}
	if _, err := client.GetPackage(ctx, registry.PackageRef{Producer: "other", Name: "n", Version: "1"}); !errors.Is(err, access.ErrForbidden) || !strings.Contains(err.Error(), "ask somebody") {
		t.Errorf("what is not allowed: %v", err)
	}
	if err := client.FollowEvents(ctx, registry.EventQuery{}, func(registry.Event) error { return nil }); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("a stream that is not allowed: %v", err)
	}
	if _, err := failing.ListBackends(ctx); !errors.Is(err, broken) {
		t.Errorf("no token to be had: %v", err)
	}
	g.mu.Lock()
	g.away = true
	g.mu.Unlock()
	if _, err := client.ListBackends(ctx); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("while nobody can say: %v", err)
	}
}

// TestSecurityInOpenAPI: the document says which operations take a token.
func TestSecurityInOpenAPI(t *testing.T) {
	t.Parallel()
	s, _, _ := guarded(t, &gate{})
	_, body := s.do(http.MethodGet, "/openapi.json", "")
	var document struct {
		Security   []map[string][]string
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme string }
		}
		Paths map[string]map[string]struct {
			Security *[]map[string][]string
		}
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if len(document.Security) != 2 || document.Components.SecuritySchemes["bearer"].Scheme != "bearer" || document.Components.SecuritySchemes["basic"].Scheme != "basic" {
		t.Errorf("%+v, %+v", document.Security, document.Components)
	}
	var free []string
	for path, item := range document.Paths {
		for _, operation := range item {
			if operation.Security != nil && len(*operation.Security) == 0 {
				free = append(free, path)
			}
		}
	}
	slices.Sort(free)
	if !slices.Equal(free, []string{"/livez", "/metrics", "/openapi.json", "/readyz"}) {
		t.Errorf("open to everybody: %q", free)
	}
}
