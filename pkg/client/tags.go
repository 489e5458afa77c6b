package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// SetTag implements registry.Tags. It is repeated: the same again is no error.
func (c *Client) SetTag(ctx context.Context, ref registry.TagRef, set registry.TagSetting) (answer registry.Tag, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodPut, path: wire.TagAddress(ref), repeat: true}, set, &answer)
	return answer, err
}

// RemoveTag implements registry.Tags.
func (c *Client) RemoveTag(ctx context.Context, ref registry.TagRef) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	return c.ask(ctx, call{method: http.MethodDelete, path: wire.TagAddress(ref)}, nil, nil)
}

// GetTag implements registry.Tags.
func (c *Client) GetTag(ctx context.Context, ref registry.TagRef, at uint64) (answer registry.Tag, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: wire.TagAddress(ref), query: positionValues("at", at, 0), repeat: true}, nil, &answer)
	return answer, err
}

// ListTags implements registry.Tags.
func (c *Client) ListTags(ctx context.Context, query registry.TagQuery) (answer registry.TagPage, err error) {
	if err := registry.ValidateName("producer", query.Producer); err != nil {
		return answer, err
	}
	if err := registry.ValidatePackageName("name", query.Name); err != nil {
		return answer, err
	}
	values := positionValues("at", query.At, query.Limit)
	if query.After != "" {
		values.Set("after", query.After)
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: wire.TagsAddress(query.Producer, query.Name), query: values, repeat: true}, nil, &answer)
	return answer, err
}

// ListTagHistory implements registry.Tags.
func (c *Client) ListTagHistory(ctx context.Context, ref registry.TagRef, query registry.HistoryQuery) (answer registry.TagPage, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: wire.TagAddress(ref) + "/history", query: positionValues("before", query.Before, query.Limit), repeat: true}, nil, &answer)
	return answer, err
}

func positionValues(name string, position uint64, limit int) url.Values {
	values := pageValues("", limit)
	if position > 0 {
		values.Set(name, strconv.FormatUint(position, 10))
	}
	return values
}
