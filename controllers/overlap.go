package controllers

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// overlapProblem refuses sb if its place is within or around that of another
// declared backend which has precedence: the older, the first by
// name where they are equally old (as all are that come from files). The bytes
// of one would lie among those of the other. A backend that is itself refused
// for that holds no place against others. The very same place is no overlap: it
// has one marker, and so one identity under two names.
//
// Places are known by what is declared: two names of one server, or a symbolic
// link, it cannot see through.
func overlapProblem(sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend, settings Settings) *Problem {
	var before []*v1alpha1.StorageBackend
	for i := range declared {
		if precedes(&declared[i], sb) {
			before = append(before, &declared[i])
		}
	}
	slices.SortFunc(before, byPrecedence)
	var holders []*v1alpha1.StorageBackend
	for _, other := range before {
		if overlapped(other, holders, settings) == nil {
			holders = append(holders, other)
		}
	}
	first := overlapped(sb, holders, settings)
	if first == nil {
		return nil
	}
	field, how := "spec.s3", "lies around"
	if sb.Spec.Local != nil {
		field = "spec.local.path"
	}
	if contains(placeOf(first, settings), placeOf(sb, settings)) {
		how = "lies within"
	}
	return problem(v1alpha1.ConditionReachable, ReasonPlaceOverlaps,
		"%s: the place %s that of the StorageBackend %q, which has precedence", field, how, first.Name)
}

// overlapped returns the first of others whose place overlaps that of sb, or nil.
func overlapped(sb *v1alpha1.StorageBackend, others []*v1alpha1.StorageBackend, settings Settings) *v1alpha1.StorageBackend {
	own := placeOf(sb, settings)
	for _, other := range others {
		if place := placeOf(other, settings); contains(place, own) || contains(own, place) {
			return other
		}
	}
	return nil
}

// byPrecedence orders backends by age and then by name.
func byPrecedence(a, b *v1alpha1.StorageBackend) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

func precedes(a, b *v1alpha1.StorageBackend) bool { return byPrecedence(a, b) < 0 }

// placeOf returns the path to a backend's bytes from the outside in; nil for a
// declaration that has no place, such as a folder that the settings refuse.
func placeOf(sb *v1alpha1.StorageBackend, settings Settings) []string {
	switch {
	case (sb.Spec.S3 == nil) == (sb.Spec.Local == nil):
		return nil
	case sb.Spec.Local != nil:
		config, wrong := localConfig(sb.Spec.Local, settings)
		if wrong != nil {
			return nil
		}
		return append([]string{"local"}, strings.Split(strings.TrimPrefix(config.Local.Path, "/"), "/")...)
	}
	place := []string{"s3", endpointOf(sb.Spec.S3.EndpointURL), sb.Spec.S3.Bucket}
	if sb.Spec.S3.KeyPrefix != "" {
		place = append(place, strings.Split(sb.Spec.S3.KeyPrefix, "/")...)
	}
	return place
}

// endpointOf returns an endpoint's host and port; "" for Amazon's, where a
// bucket is the same in every region.
func endpointOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // refused elsewhere
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if host == "" || strings.HasSuffix(host, ".amazonaws.com") {
		return ""
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return host + ":" + port
}

// contains reports whether the inner place lies in the outer one.
func contains(outer, inner []string) bool {
	return len(outer) > 0 && len(inner) > len(outer) && slices.Equal(outer, inner[:len(outer)])
}
