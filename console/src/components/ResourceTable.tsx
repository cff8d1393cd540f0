// A table as all pages have it: filter (in the address), columns to choose, pages, what to show when there is nothing.

import Box from '@cloudscape-design/components/box';
import Button from '@cloudscape-design/components/button';
import CollectionPreferences, { type CollectionPreferencesProps } from '@cloudscape-design/components/collection-preferences';
import Header, { type HeaderProps } from '@cloudscape-design/components/header';
import Pagination from '@cloudscape-design/components/pagination';
import PropertyFilter, { type PropertyFilterProps } from '@cloudscape-design/components/property-filter';
import SpaceBetween from '@cloudscape-design/components/space-between';
import Table, { type TableProps } from '@cloudscape-design/components/table';
import { useCollection } from '@cloudscape-design/collection-hooks';
import { type ReactNode, useDeferredValue, useEffect, useMemo } from 'react';
import { useParameter } from '../routes/router';
import { useRemembered } from '../state/preferences';
import type { Result } from '../state/query';
import { common } from '../strings/common';
import { ErrorBox } from './ErrorBox';
import { filterFromText, filterToText, type FilterQuery } from './filter';
import { grouped } from './format';

export type Column<T> = {
  id: string;
  header: string;
  /** What is sorted by and filtered for. */
  value: (item: T) => string | number | undefined;
  /** How it looks; its value if absent. */
  cell?: (item: T) => ReactNode;
  /** Not offered in the filter: numbers and times, for which a text is no use. */
  unfiltered?: boolean;
  /** Only if asked for in the preferences. */
  hidden?: boolean;
  width?: number;
};

/** Columns are called as they like: what is no column begins with a dollar sign. */
type Row<T> = { $key: string; $item: T; [column: string]: unknown };

type Props<T> = {
  /** Under which its preferences are remembered. */
  name: string;
  title: string;
  /** What one and many of it are called. */
  words: { one: string; many: string };
  result: Result<readonly T[]>;
  columns: readonly Column<T>[];
  keyOf: (item: T) => string;
  nameOf?: (item: T) => string;
  empty: ReactNode;
  selection?: 'single' | 'multi';
  selected?: readonly string[];
  onSelect?: (keys: string[]) => void;
  actions?: ReactNode;
  description?: ReactNode;
  /** What is to be known of all of it, between the title and the filter. */
  notice?: ReactNode;
  variant?: 'full-page' | 'container' | 'embedded';
  headerVariant?: HeaderProps['variant'];
  /** The parameter of the address that holds the filter; none: it is in the page alone. */
  parameter?: string;
  sort?: { column: string; descending?: boolean };
  pageSize?: number;
  filtered?: boolean;
  /** Told which rows are on the screen. */
  onShown?: (items: readonly T[]) => void;
};

const NONE: readonly string[] = [];

export function ResourceTable<T>(props: Props<T>) {
  const { name, title, words, result, columns, keyOf, nameOf, variant = 'full-page', selection, filtered = true } = props;
  const [address, setAddress] = useParameter(props.parameter ?? 'filter');
  const inAddress = filtered && props.parameter !== undefined;
  const [preferences, setPreferences] = useRemembered<CollectionPreferencesProps.Preferences>(`table.${name}`, {
    pageSize: props.pageSize ?? 50,
    visibleContent: columns.filter((column) => !column.hidden).map((column) => column.id),
    wrapLines: false,
    contentDensity: 'comfortable',
  });

  const rows = useMemo(
    () =>
      (result.data ?? []).map((item): Row<T> => {
        const row: Row<T> = { $key: keyOf(item), $item: item };
        for (const column of columns) row[column.id] = column.value(item) ?? '';
        return row;
      }),
    [result.data, columns, keyOf],
  );
  const properties = useMemo(
    () =>
      columns
        .filter((column) => !column.unfiltered)
        .map((column) => ({
          key: column.id,
          propertyLabel: column.header,
          groupValuesLabel: column.header,
          operators: ['=', '!=', ':', '!:', '^'] as const,
        })),
    [columns],
  );

  const sortingColumn = props.sort && { sortingField: props.sort.column };
  const { items, actions, filteredItemsCount, collectionProps, propertyFilterProps, paginationProps } = useCollection(rows, {
    propertyFiltering: {
      filteringProperties: properties,
      defaultQuery: inAddress ? (filterFromText(address, properties) as PropertyFilterProps.Query) : undefined,
      empty: props.empty,
      noMatch: <NoMatch onClear={() => actions.setPropertyFiltering({ operation: 'and', tokens: [] })} />,
    },
    sorting: { defaultState: sortingColumn && { sortingColumn, isDescending: props.sort?.descending ?? false } },
    pagination: { pageSize: preferences.pageSize ?? 50 },
    selection: { trackBy: '$key' },
  });

  const text = filterToText(propertyFilterProps.query as FilterQuery, properties);
  // Back, forward, and links to a filter change the address from outside.
  useEffect(() => {
    if (inAddress && address !== text) actions.setPropertyFiltering(filterFromText(address, properties) as PropertyFilterProps.Query);
    // Only the address decides: what is typed is written to it at once.
  }, [address]);

  // Rows are many cells: they follow in pieces, between which the page answers. Until the first ones are there it loads.
  const shown = useDeferredValue(items);
  const isLoading = result.loading || (shown.length === 0 && items.length > 0);

  const { onShown } = props;
  useEffect(() => onShown?.(shown.map((row) => row.$item)), [shown, onShown]);

  const selected = props.selected ?? NONE;
  const selectedRows = useMemo(() => {
    if (selected.length === 0) return [];
    const wanted = new Set(selected);
    return rows.filter((row) => wanted.has(row.$key));
  }, [rows, selected]);

  const definitions = useMemo(
    () =>
      columns.map((column, n): TableProps.ColumnDefinition<Row<T>> => ({
        id: column.id,
        header: column.header,
        cell: (row) => column.cell?.(row.$item) ?? (String(row[column.id] ?? '') || '–'),
        sortingField: column.id,
        ...(column.width === undefined ? {} : { width: column.width, minWidth: Math.min(column.width, 120) }),
        isRowHeader: n === 0,
      })),
    [columns],
  );
  const display = definitions.map((column) => ({ id: column.id ?? '', visible: preferences.visibleContent?.includes(column.id ?? '') ?? true }));
  const counter = result.data && (selection === 'multi' && selected.length > 0 ? `(${selected.length}/${rows.length})` : `(${grouped(rows.length)})`);
  const rowName = (row: Row<T>) => nameOf?.(row.$item) ?? row.$key;

  return (
    <Table<Row<T>>
      {...collectionProps}
      variant={variant}
      items={shown}
      columnDefinitions={definitions}
      columnDisplay={display}
      trackBy="$key"
      loading={isLoading}
      loadingText={common.loading}
      stickyHeader={variant === 'full-page'}
      resizableColumns
      wrapLines={preferences.wrapLines ?? false}
      contentDensity={preferences.contentDensity ?? 'comfortable'}
      enableKeyboardNavigation
      {...(selection ? { selectionType: selection } : {})}
      selectedItems={selectedRows}
      onSelectionChange={({ detail }) => props.onSelect?.(detail.selectedItems.map((row) => row.$key))}
      onRowClick={({ detail }) => selection === 'single' && props.onSelect?.([detail.item.$key])}
      ariaLabels={{
        tableLabel: title,
        selectionGroupLabel: common.table.selection,
        allItemsSelectionLabel: () => common.table.selectAll,
        itemSelectionLabel: (_, row) => common.table.select(rowName(row)),
      }}
      empty={result.error && !result.data ? <ErrorBox error={result.error} what={title} again={result.again} /> : collectionProps.empty}
      header={
        <SpaceBetween size="xs">
          <Header
            variant={props.headerVariant ?? (variant === 'full-page' ? 'awsui-h1-sticky' : 'h2')}
            counter={counter}
            actions={props.actions}
            description={props.description}
          >
            {title}
          </Header>
          {props.notice}
          {result.error && result.data ? <ErrorBox error={result.error} what={title} again={result.again} stale /> : null}
        </SpaceBetween>
      }
      filter={
        filtered ? (
          <PropertyFilter
            {...propertyFilterProps}
            onChange={(event) => {
              propertyFilterProps.onChange(event);
              if (inAddress) setAddress(filterToText(event.detail as FilterQuery, properties));
            }}
            countText={common.table.matches(filteredItemsCount ?? 0)}
            filteringPlaceholder={common.table.filter(words.many)}
            filteringAriaLabel={common.table.filter(words.many)}
            i18nStrings={{ enteredTextLabel: common.table.use }}
            expandToViewport
          />
        ) : undefined
      }
      pagination={rows.length > (preferences.pageSize ?? 50) ? <Pagination {...paginationProps} /> : undefined}
      preferences={
        <CollectionPreferences
          title={common.table.preferences}
          confirmLabel={common.table.confirm}
          cancelLabel={common.cancel}
          preferences={preferences}
          onConfirm={({ detail }) => setPreferences(detail)}
          pageSizePreference={{
            title: common.table.pageSize,
            options: [20, 50, 100, 200].map((value) => ({ value, label: common.table.rows(value) })),
          }}
          visibleContentPreference={{
            title: common.table.columns,
            options: [{ label: title, options: columns.map(({ id, header }, n) => ({ id, label: header, editable: n > 0 })) }],
          }}
          wrapLinesPreference={{ label: common.table.wrapLines, description: common.table.wrapLinesHint }}
          contentDensityPreference={{ label: common.table.density, description: common.table.densityHint }}
        />
      }
    />
  );
}

function NoMatch({ onClear }: { onClear: () => void }) {
  return (
    <Box textAlign="center" color="inherit">
      <Box variant="strong" display="block">{common.table.noMatch}</Box>
      <Box padding={{ bottom: 's' }} color="inherit">{common.table.noMatchHint}</Box>
      <Button onClick={onClear}>{common.table.clearFilter}</Button>
    </Box>
  );
}

/** What a list shows that has nothing yet, with the way to the first one. */
export function Empty({ title, hint, action }: { title: string; hint?: ReactNode; action?: ReactNode }) {
  return (
    <Box textAlign="center" color="inherit" padding={{ vertical: 'l' }}>
      <SpaceBetween size="s">
        <div>
          <Box variant="strong" display="block">{title}</Box>
          {hint ? <Box color="text-body-secondary">{hint}</Box> : null}
        </div>
        {action}
      </SpaceBetween>
    </Box>
  );
}
