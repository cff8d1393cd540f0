// A page that throws takes nothing else with it.

import Alert from '@cloudscape-design/components/alert';
import Button from '@cloudscape-design/components/button';
import { Component, type ReactNode } from 'react';
import { common } from '../strings/common';

export class Broken extends Component<{ children: ReactNode }, { error: Error | undefined }> {
  override state: { error: Error | undefined } = { error: undefined };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <Alert type="error" header={common.frame.broken} action={<Button onClick={() => this.setState({ error: undefined })}>{common.retry}</Button>}>
        <p>{common.frame.brokenHint}</p>
        <code className="gw-mono">{this.state.error.message}</code>
      </Alert>
    );
  }
}
