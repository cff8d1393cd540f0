// The settings that the service works with: found, and put together by section. Pure.

import type { SettingDescription } from '../../api/generated/shapes';

/** What stands for options of the command line, which have no section. */
export const COMMAND_LINE = '';

export type Section = { id: string; settings: SettingDescription[] };

/** The section that a setting is in. */
export function sectionOf({ name }: SettingDescription): string {
  return name.startsWith('--') ? COMMAND_LINE : name.slice(0, Math.max(0, name.lastIndexOf('.')));
}

/** Its name within that. */
export function nameIn(setting: SettingDescription): string {
  const section = sectionOf(setting);
  return section === COMMAND_LINE ? setting.name : setting.name.slice(section.length + 1);
}

/** The sections in the order of the service, with what holds each of the words; of these only what differs from its default, if that is wanted. */
export function sectionsOf(settings: readonly SettingDescription[], text: string, changed: boolean): Section[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const found = new Map<string, SettingDescription[]>();
  for (const setting of settings) {
    const said = [setting.name, setting.value ?? '', setting.default ?? '', setting.description].join(' ').toLowerCase();
    if ((changed && setting.isDefault) || !words.every((word) => said.includes(word))) continue;
    const section = sectionOf(setting);
    found.set(section, [...(found.get(section) ?? []), setting]);
  }
  return [...found.entries()].map(([id, all]) => ({ id, settings: all }));
}

export const countOf = (sections: readonly Section[]) => sections.reduce((all, section) => all + section.settings.length, 0);
