// A slim bar that fits into a row of a table.

type Props = { value: number; label: string; text?: string };

export function Meter({ value, label, text }: Props) {
  const shown = Math.min(100, Math.max(0, value));
  return (
    <span className="gw-meter">
      <progress max={100} value={shown} aria-label={label} />
      <span className="gw-meter-text">{text ?? `${Math.floor(shown)} %`}</span>
    </span>
  );
}
