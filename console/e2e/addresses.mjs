// Every page with something to see on it.

/** Names of pages and where they are, for a scene with a job that has run. */
export async function ADDRESSES(scene) {
  const [job] = await scene.asked('jobs', 'list');
  const images = await scene.asked('images', 'list');
  const [newest, older = newest] = images;
  return {
    overview: '/',
    connectors: '/connectors',
    servers: '/servers',
    jobs: `/jobs?job=${job.job_id}`,
    history: `/jobs?job=${job.job_id}&tab=history`,
    create: `/jobs/create?servers=${job.server_id}`,
    images: `/images?image=${newest.image_id}`,
    compare: `/images/compare?older=${older.image_id}&newer=${newest.image_id}`,
    notifications: '/activity',
    audit: '/activity?tab=audit',
    users: '/settings',
    policies: '/settings?tab=policies',
    roles: '/settings?tab=roles',
    keys: '/settings?tab=keys',
    caps: '/settings?tab=limits',
    store: '/settings?tab=store',
    defaults: '/settings?tab=defaults',
  };
}
