package declared

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// places knows of declared backends whose place is within or around that of
// another one which has precedence: the older, the first by name where they are
// equally old (as all are that come from files). The bytes of one would lie
// among those of the other. A backend that is itself refused for that holds no
// place against others. The very same place is no overlap: it has one marker,
// and so one identity under two names.
//
// Places are known by what is declared: two names of one server, or a symbolic
// link, it cannot see through.
type places struct {
	of       map[string]declaredPlace
	overlaps map[string]overlap
}

// declaredPlace is all of a backend that decides about overlaps.
type declaredPlace struct {
	created                        int64
	endpoint, bucket, prefix, path string
}

// overlap is the backend whose place a backend's lies in, or around.
type overlap struct {
	with   string
	within bool
}

func declaredPlaceOf(sb *v1alpha1.StorageBackend) declaredPlace {
	p := declaredPlace{created: sb.CreationTimestamp.Unix()}
	if sb.Spec.Local != nil {
		p.path = sb.Spec.Local.Path
	}
	if sb.Spec.S3 != nil {
		p.endpoint, p.bucket, p.prefix = sb.Spec.S3.EndpointURL, sb.Spec.S3.Bucket, sb.Spec.S3.KeyPrefix
	}
	return p
}

// Problem refuses a backend whose place overlaps that of another which has precedence.
func (p *places) Problem(sb *v1alpha1.StorageBackend) *Problem {
	found, overlapped := p.overlaps[sb.Name]
	if !overlapped {
		return nil
	}
	field, how := "spec.s3", "lies around"
	if sb.Spec.Local != nil {
		field = "spec.local.path"
	}
	if found.within {
		how = "lies within"
	}
	return Problemf(v1alpha1.ConditionReachable, ReasonPlaceOverlaps,
		"%s: the place %s that of the StorageBackend %q, which has precedence", field, how, found.with)
}

// PlacesOf compares all places at once, in a tree of their folders.
func PlacesOf(declared []v1alpha1.StorageBackend, settings Settings) *places {
	all := &places{of: make(map[string]declaredPlace, len(declared)), overlaps: map[string]overlap{}}
	sorted := make([]*v1alpha1.StorageBackend, len(declared))
	for i := range declared {
		sorted[i] = &declared[i]
		all.of[declared[i].Name] = declaredPlaceOf(&declared[i])
	}
	slices.SortFunc(sorted, byPrecedence)
	root := &folder{}
	for i, sb := range sorted {
		place := placeOf(sb, settings)
		if place == nil {
			continue
		}
		if first, within := root.take(place, i); first >= 0 {
			all.overlaps[sb.Name] = overlap{with: sorted[first].Name, within: within}
		}
	}
	return all
}

// folder is one in the tree of places. Holders are by precedence, from 0.
type folder struct {
	below  map[string]*folder
	holder int // whose place it is, plus one; 0 for nobody's
	first  int // of the holders below it, plus one
}

// take gives a place to a holder, unless it overlaps that of an earlier one:
// then it returns the first of those, and whether the place lies in that's; else -1.
func (f *folder) take(place []string, holder int) (first int, within bool) {
	path := []*folder{f}
	for _, name := range place {
		at := path[len(path)-1]
		if at.below == nil {
			at.below = map[string]*folder{}
		}
		if at.below[name] == nil {
			at.below[name] = &folder{}
		}
		path = append(path, at.below[name])
	}
	own := path[len(path)-1]
	for _, above := range path[:len(path)-1] {
		if above.holder > 0 && (own.first == 0 || above.holder < own.first) {
			return above.holder - 1, true
		}
	}
	if own.first > 0 {
		return own.first - 1, false
	}
	if own.holder == 0 {
		own.holder = holder + 1
	}
	for _, above := range path[:len(path)-1] {
		if above.first == 0 {
			above.first = holder + 1
		}
	}
	return -1, false
}

// PlaceCache keeps the places of the backends that it was asked about last:
// each look at one backend asks, and they seldom change.
type PlaceCache struct {
	mu    sync.Mutex
	last  []v1alpha1.StorageBackend // which nobody changes
	known *places
}

func (c *PlaceCache) Of(declared []v1alpha1.StorageBackend, settings Settings) *places {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known != nil && len(declared) > 0 && len(declared) == len(c.last) && &declared[0] == &c.last[0] {
		return c.known // the very same list
	}
	c.last = declared
	same := c.known != nil && len(c.known.of) == len(declared)
	for i := 0; same && i < len(declared); i++ {
		known, found := c.known.of[declared[i].Name]
		same = found && known == declaredPlaceOf(&declared[i])
	}
	if !same {
		c.known = PlacesOf(declared, settings)
	}
	return c.known
}

// byPrecedence orders backends by age and then by name.
func byPrecedence(a, b *v1alpha1.StorageBackend) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

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
	place := []string{"s3", EndpointOf(sb.Spec.S3.EndpointURL), sb.Spec.S3.Bucket}
	if sb.Spec.S3.KeyPrefix != "" {
		place = append(place, strings.Split(sb.Spec.S3.KeyPrefix, "/")...)
	}
	return place
}

// EndpointOf returns an endpoint's host and port; "" for Amazon's, where a
// bucket is the same in every region.
func EndpointOf(address string) string {
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
