import { listOf } from '../../state/query';

/** All images. */
export const imagesQuery = listOf('godwit:DescribeImages', {}, (answer) => answer.images, ['images']);
