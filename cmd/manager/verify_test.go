package main

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

func TestVerificationPods(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]cronjobs.PodSettings{
		"--namespace ns": {Server: "http://artifact-store.ns.svc", Audience: "artifact-store"},
		"--namespace ns --image i:1 --tls-cert-file c --tls-key-file k --verify-ca configmap/trust/ca.crt --token-audience ours": {
			Image: "i:1", Server: "https://artifact-store.ns.svc", CA: &cronjobs.CASource{Kind: "configmap", Name: "trust", Key: "ca.crt"}, Audience: "ours",
		},
		"--namespace ns --verify-server https://registry.example:8443": {Server: "https://registry.example:8443", Audience: "artifact-store"},
	} {
		o, err := parse(strings.Fields(flags), func(string) string { return "" }, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := verificationPods(o); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v; want %+v", flags, got, want)
		}
	}
}

func TestVerifyOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		run  declared.Verification
		want registry.VerifyOptions
	}{
		{declared.Verification{Concurrency: 4, Deadline: 6 * time.Hour}, registry.VerifyOptions{Concurrency: 4, TimeLimit: 6 * time.Hour}},
		{
			declared.Verification{Rolling: true, RollingPeriod: 720 * time.Hour, RollingInterval: 24 * time.Hour, Concurrency: 1, Bandwidth: 1 << 20, Deadline: time.Hour},
			registry.VerifyOptions{Mode: verify.Rolling, RollingPeriod: 720 * time.Hour, RollingInterval: 24 * time.Hour, Concurrency: 1, Bandwidth: 1 << 20, TimeLimit: time.Hour},
		},
	} {
		got := verifyOptions(tt.run)
		if got != tt.want {
			t.Errorf("%+v; want %+v", got, tt.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%+v: %v", got, err)
		}
	}
}
