package main

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestProbeVerdict(t *testing.T) {
	t.Parallel()
	one := func(name string, status storage.Support, needed bool, reason string) registrar.ProbeResult {
		return registrar.ProbeResult{Capability: storage.Capability{Name: name, Status: status}, Needed: needed, Reason: reason}
	}
	for want, results := range map[string][]registrar.ProbeResult{
		"": {one("put", storage.Supported, true, ""), one("range", storage.Unsupported, false, storage.ReasonInvalidRequest)},
		"b: required but not working: put; required but not known to work: head": {
			one("put", storage.Unsupported, true, storage.ReasonAccessDenied), one("head", storage.SupportUnknown, true, storage.ReasonUnknown)},
		"b: required but not known to work (Throttled): put, head": {
			one("put", storage.SupportUnknown, true, storage.ReasonThrottled), one("head", storage.SupportUnknown, true, storage.ReasonUnknown)},
		"b: required but not working: list; required but not known to work (Throttled): put": {
			one("put", storage.SupportUnknown, true, storage.ReasonThrottled), one("list", storage.Unsupported, true, "")},
	} {
		err := probeVerdict(registrar.ProbeReport{Backend: "b", Results: results})
		if got := errorText(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	well := []registrar.ProbeResult{one("put", storage.Supported, true, "")}
	declared := registrar.ProbeReport{Backend: "b", Results: well, Configuration: registrar.ConfigurationDeclared, Reason: storage.ReasonAccessDenied, Message: "put was denied"}
	if got, want := errorText(probeVerdict(declared)), "b: the current declaration is not in service: AccessDenied: put was denied"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := probeVerdict(registrar.ProbeReport{Backend: "b", Results: well, Configuration: registrar.ConfigurationInService}); got != nil {
		t.Error(got)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
